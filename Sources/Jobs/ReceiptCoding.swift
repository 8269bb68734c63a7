import NeuralNetwork
import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One flat JSON object, whatever the outcome: `status` (`ok`, `error` or `running`) and `command` tell which keys are
/// there. Keys that are not known are ignored, so that an older requestor reads the receipt of a newer worker.
extension Receipt: Codable {
    private enum Key: String, CodingKey {
        case status, command, version, kernels
        case examples, steps, epochs, seconds, loss, accuracy, confusion, threads, isa
        case stage, code, message, hint, file
        case stoppedEarly = "stopped_early"
        case samplesPerSecond = "samples_per_second"
        case weightsSHA256 = "weights_sha256"
        case shardSHA256 = "shard_sha256"
        case deltaSHA256 = "delta_sha256"
        case predictionsSHA256 = "predictions_sha256"
    }

    private enum Status: String, Codable {
        case ok, error, running
    }

    public init(from decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: Key.self)
        command = try keys.decode(String.self, forKey: .command)
        version = try keys.decode(String.self, forKey: .version)
        kernels = try keys.decodeIfPresent(Int.self, forKey: .kernels)
        switch (try keys.decode(Status.self, forKey: .status), command) {
        case (.running, _):
            outcome = .running
        case (.error, _):
            outcome = .refused(
                Refusal(
                    stage: try keys.decodeIfPresent(String.self, forKey: .stage) ?? command,
                    code: try keys.decodeIfPresent(String.self, forKey: .code),
                    message: try keys.decodeIfPresent(String.self, forKey: .message) ?? "it does not say why",
                    hint: try keys.decodeIfPresent(String.self, forKey: .hint),
                    file: try keys.decodeIfPresent(String.self, forKey: .file)))
        case (.ok, "train"):
            outcome = .trained(
                Training(
                    examples: try keys.decode(Int.self, forKey: .examples),
                    steps: try keys.decode(Int.self, forKey: .steps),
                    epochs: try keys.decode([Epoch].self, forKey: .epochs),
                    stoppedEarly: try keys.decode(Bool.self, forKey: .stoppedEarly),
                    machine: try Self.machine(keys), digests: try Self.digests(keys, output: .deltaSHA256)))
        case (.ok, "evaluate"):
            outcome = .evaluated(
                Evaluation(
                    examples: try keys.decode(Int.self, forKey: .examples),
                    loss: try keys.decode(Double.self, forKey: .loss),
                    accuracy: try keys.decodeIfPresent(Double.self, forKey: .accuracy),
                    confusion: try keys.decodeIfPresent([[Int]].self, forKey: .confusion) ?? [],
                    machine: try Self.machine(keys), digests: try Self.digests(keys, output: nil)))
        case (.ok, "predict"):
            outcome = .predicted(
                Prediction(
                    examples: try keys.decode(Int.self, forKey: .examples),
                    machine: try Self.machine(keys), digests: try Self.digests(keys, output: .predictionsSHA256)))
        default:
            throw DecodingError.dataCorruptedError(
                forKey: .command, in: keys, debugDescription: "a kind of job that is not known")
        }
    }

    private static func machine(_ keys: KeyedDecodingContainer<Key>) throws -> Machine {
        Machine(
            seconds: try keys.decode(Double.self, forKey: .seconds),
            samplesPerSecond: try keys.decode(Double.self, forKey: .samplesPerSecond),
            threads: try keys.decode(Int.self, forKey: .threads), isa: try keys.decode(String.self, forKey: .isa))
    }

    private static func digests(_ keys: KeyedDecodingContainer<Key>, output: Key?) throws -> Digests {
        Digests(
            weights: try keys.decodeIfPresent(String.self, forKey: .weightsSHA256),
            shard: try keys.decodeIfPresent(String.self, forKey: .shardSHA256),
            output: try output.flatMap { try keys.decodeIfPresent(String.self, forKey: $0) })
    }

    public func encode(to encoder: any Encoder) throws {
        var keys = encoder.container(keyedBy: Key.self)
        try keys.encode(command, forKey: .command)
        try keys.encode(version, forKey: .version)
        try keys.encodeIfPresent(kernels, forKey: .kernels)
        switch outcome {
        case .running:
            try keys.encode(Status.running, forKey: .status)
        case .refused(let refusal):
            try keys.encode(Status.error, forKey: .status)
            try keys.encode(refusal.stage, forKey: .stage)
            try keys.encodeIfPresent(refusal.code, forKey: .code)
            try keys.encode(refusal.message, forKey: .message)
            try keys.encodeIfPresent(refusal.hint, forKey: .hint)
            try keys.encodeIfPresent(refusal.file, forKey: .file)
        case .trained(let training):
            try keys.encode(training.examples, forKey: .examples)
            try keys.encode(training.steps, forKey: .steps)
            try keys.encode(training.epochs, forKey: .epochs)
            try keys.encode(training.stoppedEarly, forKey: .stoppedEarly)
            try Self.encode(training.machine, training.digests, output: .deltaSHA256, &keys)
        case .evaluated(let evaluation):
            try keys.encode(evaluation.examples, forKey: .examples)
            try keys.encode(evaluation.loss, forKey: .loss)
            try keys.encodeIfPresent(evaluation.accuracy, forKey: .accuracy)
            try keys.encode(evaluation.confusion, forKey: .confusion)
            try Self.encode(evaluation.machine, evaluation.digests, output: nil, &keys)
        case .predicted(let prediction):
            try keys.encode(prediction.examples, forKey: .examples)
            try Self.encode(prediction.machine, prediction.digests, output: .predictionsSHA256, &keys)
        }
    }

    private static func encode(
        _ machine: Machine, _ digests: Digests, output: Key?, _ keys: inout KeyedEncodingContainer<Key>
    ) throws {
        try keys.encode(Status.ok, forKey: .status)
        try keys.encode(machine.seconds, forKey: .seconds)
        try keys.encode(machine.samplesPerSecond, forKey: .samplesPerSecond)
        try keys.encode(machine.threads, forKey: .threads)
        try keys.encode(machine.isa, forKey: .isa)
        try keys.encodeIfPresent(digests.weights, forKey: .weightsSHA256)
        try keys.encodeIfPresent(digests.shard, forKey: .shardSHA256)
        if let output { try keys.encodeIfPresent(digests.output, forKey: output) }
    }
}

// MARK: - Files

extension Receipt {
    /// A receipt has no reason to be larger; one from a stranger may try.
    public static let maximumBytes = 16 << 20

    /// Reads a receipt, with every text in it made harmless. Throws what ``Tensors/Files/read(_:maximumBytes:)`` throws,
    /// and `malformed`.
    public init(contentsOf path: String) throws(DeMLError) {
        let bytes = try Files.read(path, maximumBytes: Self.maximumBytes)
        do throws(DeMLError) { try self.init(json: bytes) } catch { throw error.within(path) }
    }

    /// Reads a receipt's bytes.
    public init(json: [UInt8]) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(Receipt.self, from: Data(json)).harmless
        } catch {
            throw DeMLError(.malformed, "it is no report of a worker", cause: error)
        }
    }

    /// Writes the receipt by rename.
    public func write(to path: String) throws(DeMLError) {
        try Files.writeAtomically(Array((canonicalJSON(self) + "\n").utf8), to: path)
    }
}
