import Aggregation
import Fleets
import Jobs
import NeuralNetwork
import Tensors

/// One client's part of the data.
public struct Shard: Sendable {
    /// Number of the client, from 0.
    public var index: Int
    /// Number of examples.
    public var count: Int
    /// For a fleet that needs files.
    public var file: StoredFile?
    /// For a fleet inside this process.
    public var examples: Examples?

    public init(index: Int, count: Int, file: StoredFile? = nil, examples: Examples? = nil) {
        self.index = index
        self.count = count
        self.file = file
        self.examples = examples
    }
}

/// The weights a round starts from: decoded once, whoever trains on them.
public struct RoundWeights: Sendable {
    /// The round that made them; 0 for the initial weights.
    public var round: Int
    public var weights: Weights
    /// The file in the run folder. Absent where the fleet needs no files.
    public var file: StoredFile?
    /// What is each client's own; nil where nothing is.
    public var local: LocalBatchNorm?

    public init(round: Int, weights: Weights, file: StoredFile? = nil, local: LocalBatchNorm? = nil) {
        self.round = round
        self.weights = weights
        self.file = file
        self.local = local
    }

    /// What a client begins with, its own batch_norm in its place.
    /// - Parameter folder: where the file of it is made, for a fleet that needs one. It has its content's digest for a
    ///   name, so that the file of a job never changes.
    func weights(of client: Int, folder: String) throws(DeMLError) -> RoundWeights {
        guard let parameters = local?.parameters(of: client, shared: weights.parameters) else { return self }
        var own = self
        own.weights.parameters = parameters
        guard file != nil else { return own }
        let bytes = own.weights.safetensors(round: round).encoded()
        let sha256 = sha256Hex(bytes)
        let path = Files.path(folder, sha256 + ".safetensors")
        if !Files.exists(path) {
            try Files.createDirectory(folder)
            try Files.writeAtomically(bytes, to: path)
        }
        own.file = StoredFile(path: path, sha256: sha256, byteCount: bytes.count)
        return own
    }
}

/// One attempt of one client in one round.
public struct TrainAssignment: Sendable {
    /// Number of the round, from 1.
    public var round: Int
    /// Which try of this client in this round it is, from 1.
    public var attempt: Int
    /// The client's data. `shard.index` is the client's number. A fleet uploads a shard once a machine.
    public var shard: Shard
    /// What to start from.
    public var weights: RoundWeights
    /// Local training, its seed included. The seed depends on (run, round, client) alone, so every attempt gives the same
    /// bytes.
    public var options: TrainingOptions
    /// Threads for the worker; `nil`: as many as the machine has.
    public var threads: Int?
    /// The worker stops by itself after so many seconds and delivers what it has: partial work, weighed by its steps.
    public var maxSeconds: Double?
    /// An attempt that takes longer is killed and counts as late; seconds from ``JobProgress/started(_:)``.
    public var timeLimit: Double
    /// Whether the delta's file is wanted, too (`keep_deltas`).
    public var keepsDelta = false
    /// `id`s of providers that failed on, or are still busy with, this very task: another one is wanted.
    public var avoiding: Set<String>

    public init(
        round: Int, attempt: Int, shard: Shard, weights: RoundWeights, options: TrainingOptions, threads: Int? = nil,
        maxSeconds: Double? = nil, timeLimit: Double, avoiding: Set<String> = []
    ) {
        self.round = round
        self.attempt = attempt
        self.shard = shard
        self.weights = weights
        self.options = options
        self.threads = threads
        self.maxSeconds = maxSeconds
        self.timeLimit = timeLimit
        self.avoiding = avoiding
    }

    /// Number of the client.
    public var client: Int { shard.index }

    /// What a fleet is to do: files where there are some, else what is in memory.
    package var job: FleetJob {
        var inputs: [WorkerJob.Role: JobInput] = [:]
        inputs[.weights] = weights.file.map(JobInput.file) ?? .weights(weights.weights)
        inputs[.shard] = shard.file.map(JobInput.file) ?? shard.examples.map(JobInput.examples)
        return FleetJob(
            name: "\(round)-\(client)-\(attempt)", title: "round \(round), shard \(client)", kind: .train(options),
            inputs: inputs, model: weights.weights.model, examples: shard.count,
            limits: .init(threads: threads, maxSeconds: maxSeconds, allowsPartialWork: maxSeconds != nil),
            timeLimit: timeLimit, keepsOutput: keepsDelta, avoiding: avoiding)
    }
}

/// A good answer: verified, ready to be averaged.
public struct WorkerResult: Sendable {
    public var update: Update
    /// As the worker left it, checked: ``Jobs/Receipt/checked(for:examples:)``.
    public var report: Receipt
    /// What the receipt tells of the training.
    public var training: Receipt.Training
    public var provider: Provider
    /// Bytes that went to the machine for this attempt (a shard that was there already counts nothing), and came back.
    public var bytesUp: Int
    public var bytesDown: Int
    /// Wall-clock seconds from ``JobProgress/started(_:)`` until the answer was here and verified.
    public var seconds: Double
    /// What this attempt cost in GLM, as far as it can be told apart; `nil` where work is free.
    public var costGLM: Double?
    /// Where the verified delta lies when the assignment keeps it: the run moves it into its folder, so the fleet must not
    /// use this path again. `nil` where there is no file.
    public var deltaPath: String?

    public init(
        update: Update, report: Receipt, training: Receipt.Training, provider: Provider, bytesUp: Int, bytesDown: Int,
        seconds: Double,
        costGLM: Double? = nil, deltaPath: String? = nil
    ) {
        self.update = update
        self.report = report
        self.training = training
        self.provider = provider
        self.bytesUp = bytesUp
        self.bytesDown = bytesDown
        self.seconds = seconds
        self.costGLM = costGLM
        self.deltaPath = deltaPath
    }
}

extension FleetSession {
    /// Has one machine train on a client's shard.
    /// - Throws: what ``Fleets/FleetSession/perform(_:progress:)`` throws.
    func train(
        _ assignment: TrainAssignment, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> WorkerResult {
        let answer = try await perform(assignment.job, progress: progress)
        guard let training = answer.receipt.training, case .delta(let values) = answer.output else {
            throw DeMLError(.internal, "a training was asked for, and something else was answered")
        }
        let update = Update(
            client: assignment.client, examples: training.examples, values: values,
            workDone: training.workDone(of: assignment.options))
        return WorkerResult(
            update: update, report: answer.receipt, training: training, provider: answer.provider,
            bytesUp: answer.bytesUp, bytesDown: answer.bytesDown, seconds: answer.seconds, costGLM: answer.costGLM,
            deltaPath: answer.outputPath)
    }
}
