import Jobs

/// Why an attempt gave nothing.
public struct WorkerFailure: Error, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The worker said what is wrong, in its report or by its exit code.
        case worker
        /// The worker or its machine went away: killed, lost, unreachable.
        case lost
        /// It took longer than it was given.
        case late
        /// It delivered something that is damaged, incomplete or not what was asked for.
        case badResult = "bad_result"
        /// It was cancelled by the run: another answer came first, the round closed, or Ctrl-C.
        case cancelled
    }

    public var kind: Kind
    /// `nil` when no machine had taken the job yet.
    public var provider: Provider?
    /// What was being done: "start", "upload", "train", "download", "verify", or a stage from the worker's report
    /// ("read-shard").
    public var stage: String
    /// One sentence.
    public var message: String
    /// False when every machine would say the same, so that asking another is a waste.
    public var isRetryable: Bool
    public var exitCode: Int32?
    /// The report as it came, where one came.
    public var report: Receipt?
    /// The end of what the worker wrote to stderr, at most some kilobytes.
    public var standardErrorTail: String?
    public var bytesUp: Int
    public var bytesDown: Int
    public var seconds: Double
    public var costGLM: Double?

    public init(
        _ kind: Kind, provider: Provider?, stage: String, message: String, isRetryable: Bool = true,
        exitCode: Int32? = nil, report: Receipt? = nil, standardErrorTail: String? = nil, bytesUp: Int = 0,
        bytesDown: Int = 0, seconds: Double = 0, costGLM: Double? = nil
    ) {
        self.kind = kind
        self.provider = provider
        self.stage = stage
        self.message = message
        self.isRetryable = isRetryable
        self.exitCode = exitCode
        self.report = report
        self.standardErrorTail = standardErrorTail
        self.bytesUp = bytesUp
        self.bytesDown = bytesDown
        self.seconds = seconds
        self.costGLM = costGLM
    }

    /// `provider-2 failed at read-shard: labels reach 12, the model has 10 outputs`
    public var description: String {
        "\(provider?.name ?? "no provider") \(kind == .late ? "was late" : "failed") at \(stage): \(message)"
    }
}
