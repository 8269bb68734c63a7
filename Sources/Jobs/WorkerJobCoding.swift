import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// ```json
/// {"inputs": {"shard": {"file": "shard.safetensors.gz", "sha256": "…"}, "weights": {"file": "weights.safetensors"}},
///  "kind": "train", "limits": {"max_seconds": 60, "partial": true, "threads": 2}, "options": {…},
///  "output": "delta.safetensors.gz", "report": "report.json"}
/// ```
///
/// `"form": "outputs"` belongs to `predict` (``WorkerJob/PredictionForm``), as does `"form": "text"` with
/// `"text": {"length": 9, "tokens": 500, "temperature": 0.8, "top_k": 40, "seed": 0}`.
/// `options` are those of ``NeuralNetwork/TrainingOptions`` and belong to `train`, as does
/// `"state": {"every_seconds": 60, "input": {"file": "…", "sha256": "…"}, "output": "state.safetensors"}`. What is not said
/// is not written, either. An unknown key is refused by name.
extension WorkerJob: Codable {
    public init(from decoder: any Decoder) throws {
        let subject = "the job"
        let keys = try StrictContainer(
            decoder, subject,
            keys: ["kind", "options", "form", "text", "inputs", "output", "report", "limits", "state"])
        let name = try keys.required("kind", String.self)
        let options = try keys.optional("options", TrainingOptions.self)
        let form = try keys.optional("form", String.self)
        let text = try keys.optional("text", TextContinuation.self)
        switch name {
        case "train": kind = .train(options ?? TrainingOptions())
        case "evaluate": kind = .evaluate
        case "predict":
            switch (form, text) {
            case (nil, nil), ("answers", nil): kind = .predict(.answers)
            case ("outputs", nil): kind = .predict(.outputs)
            case ("text", let text?): kind = .predict(.text(text))
            case ("text", nil): throw keys.error(.missing, "\(subject) of the form text does not say which text")
            case (let form?, nil): throw keys.error(.outOfRange, "\(subject) has the form \(form.quotedForMessage)")
            case (_, _?): throw keys.error(.outOfRange, "\(subject) has a text, but not the form text")
            }
        default:
            throw keys.error(
                .outOfRange, "\(subject) has the kind \(name.quotedForMessage)",
                hint: "this worker knows train, evaluate and predict")
        }
        guard name == "train" || options == nil else {
            throw keys.error(.outOfRange, "\(subject) of the kind \(name) has no options")
        }
        guard name == "predict" || form == nil && text == nil else {
            throw keys.error(.outOfRange, "\(subject) of the kind \(name) has no form")
        }
        inputs = try keys.required("inputs", Inputs.self).files
        output = try keys.optional("output", String.self)
        report = try keys.required("report", String.self)
        limits = try keys.optional("limits", Limits.self) ?? Limits()
        state = try keys.optional("state", State.self)
        try validate()
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(kind.name, forKey: TextKey("kind"))
        try container.encodeIfPresent(training, forKey: TextKey("options"))
        try container.encodeIfPresent(kind.formName, forKey: TextKey("form"))
        try container.encodeIfPresent(kind.text, forKey: TextKey("text"))
        try container.encode(Inputs(files: inputs), forKey: TextKey("inputs"))
        try container.encodeIfPresent(output, forKey: TextKey("output"))
        try container.encode(report, forKey: TextKey("report"))
        if limits != Limits() { try container.encode(limits, forKey: TextKey("limits")) }
        try container.encodeIfPresent(state, forKey: TextKey("state"))
    }

    /// The one JSON text of this job: sorted keys, no white space.
    public var json: String { canonicalJSON(self) }

    /// What is asked, without where files lie and what the work may take: kind, options and the digests of the inputs.
    /// Two workers that were asked the same must answer with the same bytes.
    public var question: String { canonicalJSON(Question(job: self)) }

    /// A longer text is no job.
    public static let maximumBytes = 1 << 20

    /// Reads a job. Throws `malformed`, `outOfRange` and `missing` with what is wrong.
    public init(json: some Sequence<UInt8>) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(WorkerJob.self, from: Data(json))
        } catch {
            throw DeMLError(decoding: error, of: "the job")
        }
    }

    /// Reads a job's file.
    public init(contentsOf path: String) throws(DeMLError) {
        let bytes = try Files.read(path, maximumBytes: Self.maximumBytes)
        do throws(DeMLError) { try self.init(json: bytes) } catch { throw error.within(path) }
    }

    private struct Inputs: Codable {
        var files: [Role: Input]

        init(files: [Role: Input]) {
            self.files = files
        }

        init(from decoder: any Decoder) throws {
            let keys = try StrictContainer(decoder, "the job's inputs", keys: Role.allCases.map(\.rawValue))
            files = [:]
            for role in Role.allCases { files[role] = try keys.optional(role.rawValue, Input.self) }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: TextKey.self)
            for (role, input) in files { try container.encode(input, forKey: TextKey(role.rawValue)) }
        }
    }

    private struct Question: Encodable {
        let job: WorkerJob

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: TextKey.self)
            try container.encode(job.kind.name, forKey: TextKey("kind"))
            try container.encodeIfPresent(job.training, forKey: TextKey("options"))
            try container.encodeIfPresent(job.kind.formName, forKey: TextKey("form"))
            try container.encodeIfPresent(job.kind.text, forKey: TextKey("text"))
            var inputs = container.nestedContainer(keyedBy: TextKey.self, forKey: TextKey("inputs"))
            for (role, input) in job.inputs { try inputs.encodeIfPresent(input.sha256, forKey: TextKey(role.rawValue)) }
        }
    }
}

extension WorkerJob.Kind {
    /// The form as it is written; nil for the usual one.
    fileprivate var formName: String? {
        if case .predict(let form) = self, form != .answers { form.name } else { nil }
    }

    /// What is to be written; nil for another kind.
    fileprivate var text: TextContinuation? {
        if case .predict(.text(let text)) = self { text } else { nil }
    }
}

extension WorkerJob.Input: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "an input", keys: ["file", "sha256"])
        path = try keys.required("file", String.self)
        sha256 = try keys.optional("sha256", String.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(path, forKey: TextKey("file"))
        try container.encodeIfPresent(sha256, forKey: TextKey("sha256"))
    }
}

extension WorkerJob.Limits: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the job's limits", keys: ["threads", "max_seconds", "partial"])
        threads = try keys.optional("threads", Int.self)
        maxSeconds = try keys.optional("max_seconds", Double.self)
        allowsPartialWork = try keys.optional("partial", Bool.self) ?? false
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encodeIfPresent(threads, forKey: TextKey("threads"))
        try container.encodeIfPresent(maxSeconds, forKey: TextKey("max_seconds"))
        if allowsPartialWork { try container.encode(true, forKey: TextKey("partial")) }
    }
}

extension WorkerJob.State: Codable {
    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the job's state", keys: ["input", "output", "every_seconds"])
        input = try keys.optional("input", WorkerJob.Input.self)
        output = try keys.optional("output", String.self)
        interval = try keys.optional("every_seconds", Double.self) ?? Self.standardInterval
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encodeIfPresent(input, forKey: TextKey("input"))
        try container.encodeIfPresent(output, forKey: TextKey("output"))
        if interval != Self.standardInterval { try container.encode(interval, forKey: TextKey("every_seconds")) }
    }
}
