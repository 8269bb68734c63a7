import NeuralNetwork

/// Everything `deml train` can be told, with the keys of the YAML files and of `config.json`.
///
/// A key is the command's option with `_` for `-` (`--local-epochs`, `local_epochs`). Every key may be left out; what it
/// is then stands here. ``problems()`` reports everything that is wrong with the values at once, and decoding does the
/// same for keys and types (see ``RunConfigurationFile``).
public struct RunConfiguration: Sendable, Equatable {
    // MARK: What is learned

    /// A dataset: a folder or file, or the name of one that comes with DeML ("mnist").
    public var data = "mnist"
    /// The share of the examples that is split off as test set where the data has none, above 0 and below 1.
    public var testFraction = 0.2
    /// The column of a CSV file that holds the labels: its name, or its number from 0; `nil`: the first.
    public var labelColumn: String?
    /// The model, or the path of a file that describes it (YAML, JSON, or a weights file).
    public var model: ModelSource?
    /// A weights file to start from instead of fresh weights.
    public var initialWeights: String?
    /// How examples go to clients: "iid", "dirichlet:0.3", "pathological:2", "quantity:0.5".
    public var partition = "iid"
    /// Seed of everything random in the run: same seed, same bytes.
    public var seed: UInt64 = 0

    // MARK: Rounds

    /// Number of clients, and so of shards.
    public var workers = 3
    public var rounds = 3
    /// The share of clients that train in a round, above 0 up to 1; at least one client does.
    public var fraction = 1.0
    /// A round closes with at least so many good answers; `nil`: all that were asked.
    public var minWorkers: Int?
    /// How often a client's training is given to another worker after a failure.
    public var retries = 2
    /// A worker that needs longer than so many seconds for one training is killed and counts as late.
    public var timeout = 3600.0
    /// A worker that has taken so many times the median of the finished ones gets company: its task is also given to
    /// another, and the first good answer counts. 0: never.
    public var stragglerFactor = 4.0
    /// After so many seconds a round closes as soon as it has `minWorkers` answers; `nil`: it waits for all.
    public var roundTimeout: Double?
    /// The run ends when the test accuracy has reached this; `nil`: after `rounds`.
    public var targetAccuracy: Double?

    // MARK: Local training

    public var localEpochs = 5
    public var batchSize = 64
    public var optimizer = OptimizerName.adam
    public var learningRate = 0.001
    /// What the learning rate is multiplied by from one round to the next.
    public var learningRateDecay = 1.0
    /// SGD only.
    public var momentum = 0.0
    /// SGD only; needs a momentum.
    public var nesterov = false
    /// `nil`: 0, and 0.01 for AdamW.
    public var weightDecay: Double?
    /// Adam and AdamW only; `nil`: 0.9, 0.999 and 1e-8.
    public var beta1: Double?
    public var beta2: Double?
    public var epsilon: Double?
    public var labelSmoothing = 0.0
    /// Whether a worker shuffles its shard in every epoch.
    public var shuffle = true
    /// A worker stops by itself after so many seconds and delivers what it has (results then depend on its speed).
    public var maxSeconds: Double?

    // MARK: Averaging

    /// What the averaged delta is multiplied by.
    public var serverLearningRate = 1.0
    /// FedAvgM: momentum of the averaged deltas over rounds.
    public var serverMomentum = 0.0
    public var serverNesterov = false
    /// Deltas with a larger Euclidean norm are scaled down to it; `nil`: never.
    public var clipNorm: Double?
    /// A delta with a larger norm than this is refused, and its client's training retried; `nil`: none is.
    public var maxNorm: Double?

    // MARK: Machines

    /// "local", "simulated" or "golem" (`--on`).
    public var fleet = FleetName.local
    /// How many workers work at once; `nil`: the fleet decides.
    public var parallel: Int?
    /// Threads of a worker; `nil`: the fleet decides.
    public var threads: Int?
    /// Settings of the Golem fleet, by the names of its options (`budget`, `max_price_per_hour`, `subnet`, …).
    public var golem: [String: String] = [:]

    // MARK: What is written

    /// The run folder; `nil`: a new one under `runs/`.
    public var output: String?
    /// Compare with the same model trained in one place, and on one shard alone.
    public var comparison = true
    /// Keep every accepted delta in the run folder.
    public var keepDeltas = false

    public init() {}

    /// `sgd`, `adam` or `adamw`.
    public enum OptimizerName: String, Sendable, Codable, CaseIterable {
        case sgd, adam, adamw
    }

    /// Where the work is done.
    public enum FleetName: String, Sendable, Codable, CaseIterable {
        case local, simulated, golem
    }

    /// Clients that train in a round: `fraction` of all, rounded, at least one.
    public var clientsPerRound: Int {
        min(workers, max(1, Int((fraction * Double(workers)).rounded())))
    }

    /// Good answers a round needs at least.
    public var requiredWorkers: Int { minWorkers ?? clientsPerRound }

    /// Passes over an example that the whole run makes on average, at least one: what the comparison trains for.
    public var passes: Int {
        max(1, Int((Double(rounds * localEpochs * clientsPerRound) / Double(workers)).rounded()))
    }
}

/// A model description, or where to find one.
public enum ModelSource: Sendable, Equatable, Codable {
    case description(ModelDescription)
    /// To be read by the command before the run; a run itself needs the description.
    case path(String)

    public init(from decoder: any Decoder) throws {
        if let path = try? decoder.singleValueContainer().decode(String.self) {
            self = .path(path)
        } else {
            self = .description(try ModelDescription(from: decoder))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .description(let description): try description.encode(to: encoder)
        case .path(let path):
            var container = encoder.singleValueContainer()
            try container.encode(path)
        }
    }
}
