import Jobs
import NeuralNetwork
import Tensors

/// A file on this machine whose bytes are known: they never change while the session lasts.
public struct StoredFile: Sendable, Hashable, Codable {
    public var path: String
    /// SHA-256 of the bytes as stored (compressed where the name ends in `.gz`), 64 lowercase hexadecimal digits.
    public var sha256: String
    public var byteCount: Int

    public init(path: String, sha256: String, byteCount: Int) {
        self.path = path
        self.sha256 = sha256
        self.byteCount = byteCount
    }

    enum CodingKeys: String, CodingKey {
        case path, sha256
        case byteCount = "bytes"
    }
}

/// What a job works with: a file for machines that have their own, its content for a fleet inside this process.
public enum JobInput: Sendable {
    case file(StoredFile)
    case weights(Weights)
    case examples(Examples)

    /// The file. Throws `internal` where there is none: a fleet that needs files is given files.
    package func stored() throws(DeMLError) -> StoredFile {
        guard case .file(let file) = self else {
            throw DeMLError(.internal, "a fleet that needs files was given an input without one")
        }
        return file
    }
}

/// One attempt at one job.
public struct FleetJob: Sendable {
    /// What tells this attempt from all others of the session, fit for a file's name: "3-7-1".
    public var name: String
    /// What a person reads: "round 3, shard 7".
    public var title: String
    public var kind: WorkerJob.Kind
    public var inputs: [WorkerJob.Role: JobInput]
    /// Of the weights: what a delta is checked against.
    public var model: ModelDescription
    /// Examples in the shard.
    public var examples: Int
    public var limits: WorkerJob.Limits
    /// An attempt that takes longer is killed and counts as late; seconds from ``JobProgress/started(_:)``.
    public var timeLimit: Double
    /// Whether the output's file is wanted, too.
    public var keepsOutput: Bool
    /// `id`s of providers that failed on, or are still busy with, this very job: another one is wanted.
    public var avoiding: Set<String>

    public init(
        name: String, title: String, kind: WorkerJob.Kind, inputs: [WorkerJob.Role: JobInput], model: ModelDescription,
        examples: Int, limits: WorkerJob.Limits = .init(), timeLimit: Double, keepsOutput: Bool = false,
        avoiding: Set<String> = []
    ) {
        self.name = name
        self.title = title
        self.kind = kind
        self.inputs = inputs
        self.model = model
        self.examples = examples
        self.limits = limits
        self.timeLimit = timeLimit
        self.keepsOutput = keepsOutput
        self.avoiding = avoiding
    }

    /// Bytes of all inputs that are files.
    package var inputBytes: Int {
        inputs.values.reduce(0) { if case .file(let file) = $1 { $0 + file.byteCount } else { $0 } }
    }

    /// What a worker is told, with the files where that machine has them.
    /// - Throws: `internal` where an input is no file, and what ``Jobs/WorkerJob/validate()`` throws.
    package func workerJob(
        path: (WorkerJob.Role, StoredFile) -> String, output: String?, report: String
    ) throws(DeMLError) -> WorkerJob {
        var places: [WorkerJob.Role: WorkerJob.Input] = [:]
        for (role, input) in inputs {
            let file = try input.stored()
            places[role] = WorkerJob.Input(path: path(role, file), sha256: file.sha256)
        }
        let job = WorkerJob(
            kind, inputs: places, output: kind.output == nil ? nil : output, report: report, limits: limits)
        try job.validate()
        return job
    }
}

/// A good answer: it has passed the border.
public struct JobAnswer: Sendable {
    /// What the work gave, beside the receipt.
    public enum Output: Sendable {
        /// Local minus received weights, in the order of the model's parameters.
        case delta([Float])
        /// What the model says to each example, `[examples, outputs]` in the order of the shard.
        case predictions([Float])
        /// The receipt says it all.
        case nothing
    }

    public var receipt: Receipt
    public var output: Output
    public var provider: Provider
    /// Bytes that went to the machine for this attempt (an input that was there already counts nothing), and came back.
    public var bytesUp: Int
    public var bytesDown: Int
    /// Wall-clock seconds from ``JobProgress/started(_:)`` until the answer was here and verified.
    public var seconds: Double
    /// What this attempt cost in GLM, as far as it can be told apart; `nil` where work is free.
    public var costGLM: Double?
    /// Where the output's file lies when the job keeps it: whoever asked moves it away, so the fleet must not use this path
    /// again. `nil` where there is no file.
    public var outputPath: String?

    public init(
        receipt: Receipt, output: Output, provider: Provider, bytesUp: Int = 0, bytesDown: Int = 0, seconds: Double,
        costGLM: Double? = nil, outputPath: String? = nil
    ) {
        self.receipt = receipt
        self.output = output
        self.provider = provider
        self.bytesUp = bytesUp
        self.bytesDown = bytesDown
        self.seconds = seconds
        self.costGLM = costGLM
        self.outputPath = outputPath
    }
}
