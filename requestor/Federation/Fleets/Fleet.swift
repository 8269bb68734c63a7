import Jobs
import NeuralNetwork
import Tensors

/// The machines that train: processes on this computer, threads of this process, or rented machines on Golem.
///
/// A fleet does one thing, `train`: it brings one assignment to one machine and brings one verified answer back, or says
/// why there is none. Who is asked again, what a slow machine means for the round and when a round is over is decided by
/// ``RoundMachine``, so that every fleet behaves alike.
///
/// A fleet is structured: everything it starts (processes, connections, rented machines) lives inside ``withWorkers``,
/// and cancellation of the calling task is the only way to stop it early.
public protocol Fleet: Sendable {
    /// "local", "simulated" or "golem": what `--on` takes and what the run folder records.
    var name: String { get }

    /// Whether assignments must carry files. A fleet inside this process reads the examples it was made with instead, and
    /// then neither shards nor deltas are written.
    var needsFiles: Bool { get }

    /// Starts what the fleet needs, performs `perform`, and stops everything in every case: return, error, cancellation.
    ///
    /// When the fleet itself fails beyond repair (no machine at all, budget spent) it cancels `perform` and throws.
    /// - Parameter notice: what a person should know in between ("rented provider-2 at 0.02 GLM/h"); any task may call it.
    func withWorkers<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        perform: @escaping @Sendable () async throws -> Value
    ) async throws -> Value

    /// Has one machine do one assignment.
    ///
    /// Called concurrently, for every client of a round at once: the fleet bounds its own concurrency and makes the rest
    /// wait. It must not choose a machine in `assignment.avoiding` while it can have another. It keeps
    /// `assignment.timeLimit`, counted from ``WorkerProgress/started(_:)``, and may set a tighter one of its own.
    /// Cancellation kills the work and frees the machine before this returns.
    /// - Returns: a result that ``DeliveredFiles`` (or the fleet's own arithmetic) has verified.
    /// - Throws: ``WorkerFailure`` for everything that concerns this one attempt. Any other error ends the run.
    func train(
        _ assignment: TrainAssignment, progress: @escaping @Sendable (WorkerProgress) -> Void
    ) async throws -> WorkerResult

    /// What the fleet has cost so far, all of it, wasted work included. Asked after every round and once more after
    /// ``withWorkers`` has returned, when everything is paid. `nil` where work is free.
    func expenses() async -> Expenses?
}

extension Fleet {
    public func expenses() async -> Expenses? { nil }
}

/// What a fleet may prepare for before the first round.
public struct FleetPlan: Sendable {
    /// Every shard of the run, in order: shard `k` belongs to client `k`.
    public var shards: [Shard]
    /// How many clients train in a round.
    public var clientsPerRound: Int
    /// Rounds that are still to be done; fewer than the configuration says after a resume.
    public var rounds: Int
    /// The effective settings of the run.
    public var configuration: RunConfiguration
    /// Where a fleet may keep what belongs to this run (task folders, a ledger). Created by the run.
    public var folder: String

    public init(
        shards: [Shard], clientsPerRound: Int, rounds: Int, configuration: RunConfiguration, folder: String
    ) {
        self.shards = shards
        self.clientsPerRound = clientsPerRound
        self.rounds = rounds
        self.configuration = configuration
        self.folder = folder
    }
}

/// A file on this machine whose bytes are known: they never change while the run lasts.
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

/// One client's part of the data.
public struct Shard: Sendable, Hashable {
    /// Number of the client, from 0.
    public var index: Int
    /// Number of examples.
    public var count: Int
    /// Absent where the fleet needs no files.
    public var file: StoredFile?

    public init(index: Int, count: Int, file: StoredFile? = nil) {
        self.index = index
        self.count = count
        self.file = file
    }
}

/// The weights a round starts from: decoded once, whoever trains on them.
public struct RoundWeights: Sendable {
    /// The round that made them; 0 for the initial weights.
    public var round: Int
    public var weights: Weights
    /// The file in the run folder. Absent where the fleet needs no files.
    public var file: StoredFile?

    public init(round: Int, weights: Weights, file: StoredFile? = nil) {
        self.round = round
        self.weights = weights
        self.file = file
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
    /// An attempt that takes longer is killed and counts as late; seconds from ``WorkerProgress/started(_:)``.
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

    /// What a worker is told to do, with the files where that machine has them.
    package func job(
        weights weightsPath: String, shard shardPath: String, delta: String, report: String
    ) -> WorkerJob {
        WorkerJob(
            .train(options),
            inputs: [
                .weights: .init(path: weightsPath, sha256: weights.file?.sha256),
                .shard: .init(path: shardPath, sha256: shard.file?.sha256),
            ],
            output: delta, report: report,
            limits: .init(threads: threads, maxSeconds: maxSeconds, allowsPartialWork: maxSeconds != nil))
    }
}

/// A machine, or the slot on this machine that plays one.
public struct Provider: Sendable, Hashable, Codable {
    /// What tells it from all others: the node id on Golem, "local-2" here.
    public var id: String
    /// What a person reads.
    public var name: String

    public init(id: String, name: String) {
        self.id = id
        self.name = name
    }
}

/// What is known of an attempt while it goes on.
public enum WorkerProgress: Sendable, Hashable {
    /// A machine has taken the assignment; its time counts from here.
    case started(Provider)
    /// "upload", "train", "download", …
    case stage(String)
    /// An epoch is done.
    case epoch(EpochProgress)
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
    /// Wall-clock seconds from ``WorkerProgress/started(_:)`` until the answer was here and verified.
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
    /// `nil` when no machine had taken the assignment yet.
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

/// A message of the fleet's own, outside any attempt.
public struct FleetNotice: Sendable, Hashable, Codable {
    public enum Level: String, Sendable, Codable { case info, warning }

    public var level: Level
    public var message: String
    public var provider: Provider?
    /// What a program may want to read back from events.jsonl (agreement id, price, …).
    public var details: [String: String]

    public init(_ level: Level, _ message: String, provider: Provider? = nil, details: [String: String] = [:]) {
        self.level = level
        self.message = message
        self.provider = provider
        self.details = details
    }
}

/// What work has cost.
public struct Expenses: Sendable, Hashable, Codable {
    public var costGLM: Double
    /// One entry a contract with a provider.
    public var agreements: [AgreementExpense]

    public init(costGLM: Double, agreements: [AgreementExpense] = []) {
        self.costGLM = costGLM
        self.agreements = agreements
    }

    enum CodingKeys: String, CodingKey {
        case costGLM = "cost_glm"
        case agreements
    }
}

/// A line of the table of costs: what one provider was hired for, did, billed and got.
public struct AgreementExpense: Sendable, Hashable, Codable {
    public var provider: Provider
    public var agreement: String
    public var tasks: Int
    public var seconds: Double
    public var billedGLM: Double
    public var paidGLM: Double
    /// "settled", "accepted", "rejected", …
    public var state: String
    /// Why, where it is not the ordinary end.
    public var reason: String?

    public init(
        provider: Provider, agreement: String, tasks: Int, seconds: Double, billedGLM: Double, paidGLM: Double,
        state: String, reason: String? = nil
    ) {
        self.provider = provider
        self.agreement = agreement
        self.tasks = tasks
        self.seconds = seconds
        self.billedGLM = billedGLM
        self.paidGLM = paidGLM
        self.state = state
        self.reason = reason
    }

    enum CodingKeys: String, CodingKey {
        case provider, agreement, tasks, seconds, state, reason
        case billedGLM = "billed_glm"
        case paidGLM = "paid_glm"
    }
}
