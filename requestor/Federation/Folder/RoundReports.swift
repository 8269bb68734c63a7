import Fleets
import Jobs
import Tensors

/// What is kept of one worker's answer: a line of `rounds/0003/reports.jsonl`.
public struct WorkerRecord: Codable, Sendable {
    public var client: Int
    public var attempt: Int
    public var provider: Provider
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double?
    /// Examples that the delta stands for, and its Euclidean norm.
    public var examples: Int
    public var norm: Double
    /// As the worker wrote it.
    public var report: Receipt

    init(_ result: WorkerResult, of attempt: RoundMachine.Attempt) {
        client = attempt.client
        self.attempt = attempt.number
        provider = result.provider
        seconds = result.seconds
        bytesUp = result.bytesUp
        bytesDown = result.bytesDown
        costGLM = result.costGLM
        examples = result.update.examples
        norm = result.update.norm
        report = result.report
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        client = try container.decode(Int.self, forKey: .client)
        attempt = try container.decode(Int.self, forKey: .attempt)
        provider = try container.decode(Provider.self, forKey: .provider)
        seconds = try container.decode(Double.self, forKey: .seconds)
        bytesUp = try container.decode(Int.self, forKey: .bytesUp)
        bytesDown = try container.decode(Int.self, forKey: .bytesDown)
        costGLM = try container.decodeIfPresent(Double.self, forKey: .costGLM)
        norm = try container.decode(Double.self, forKey: .norm)
        report = try container.decode(Receipt.self, forKey: .report)
        // Absent in the files of older runs.
        examples = try container.decodeIfPresent(Int.self, forKey: .examples) ?? report.training?.examples ?? 0
    }

    enum CodingKeys: String, CodingKey {
        case client, attempt, provider, seconds, examples, norm, report
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
    }
}

/// What is kept of an attempt that gave nothing: a line of `rounds/0003/reports.jsonl`.
public struct FailureRecord: Codable, Sendable {
    public var client: Int
    public var attempt: Int
    public var provider: Provider?
    public var failure: WorkerFailure.Kind
    public var stage: String
    public var message: String
    public var next: RunEvent.AttemptFailed.Next
    public var exitCode: Int32?
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double?
    /// As the worker wrote it, where it did.
    public var report: Receipt?
    public var standardErrorTail: String?

    init(_ attempt: RoundMachine.Attempt, _ failure: WorkerFailure, _ next: RunEvent.AttemptFailed.Next) {
        client = attempt.client
        self.attempt = attempt.number
        provider = failure.provider
        self.failure = failure.kind
        stage = failure.stage
        message = failure.message
        self.next = next
        exitCode = failure.exitCode
        seconds = failure.seconds
        bytesUp = failure.bytesUp
        bytesDown = failure.bytesDown
        costGLM = failure.costGLM
        report = failure.report
        standardErrorTail = failure.standardErrorTail
    }

    enum CodingKeys: String, CodingKey {
        case client, attempt, provider, failure, stage, message, next, seconds, report
        case exitCode = "exit_code"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case standardErrorTail = "stderr"
    }
}

/// A line of `rounds/0003/reports.jsonl`: how one attempt ended. One with the key `failure` gave nothing.
public enum AttemptRecord: Codable, Sendable {
    case answer(WorkerRecord)
    case failure(FailureRecord)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: FailureRecord.CodingKeys.self)
        self =
            container.contains(.failure)
            ? .failure(try FailureRecord(from: decoder)) : .answer(try WorkerRecord(from: decoder))
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .answer(let record): try record.encode(to: encoder)
        case .failure(let record): try record.encode(to: encoder)
        }
    }
}

extension RunFolder {
    /// How the attempts of a round ended: first those that count, in order of their clients, then the others as they came.
    public func readReports(round: Int) throws -> [AttemptRecord] {
        if Files.exists(reports(round: round)) { return try decodeLines(reports(round: round)) }
        // Older runs have a file for each: worker-0007.json, failed-0007-1.json.
        let names = try Files.names(in: self.round(round)).filter { $0.hasSuffix(".json") }
        return try (names.filter { $0.hasPrefix("worker-") } + names.filter { $0.hasPrefix("failed-") })
            .map { try decode(self.round(round) + "/" + $0) }
    }
}
