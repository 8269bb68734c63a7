import Datasets
import Tensors

/// Who has which examples, and how many rounds there are.
public struct FederationSettings: SettingGroup {
    /// How examples go to clients: "iid", "dirichlet:0.3", "pathological:2", "quantity:0.5".
    public var partition = "iid"
    /// Seed of everything random in the run: same seed, same bytes.
    public var seed: UInt64 = 0
    /// Number of clients, and so of shards.
    public var workers = 3
    public var rounds = 3
    /// The share of clients that train in a round, above 0 up to 1; at least one client does.
    public var fraction = 1.0
    /// A round closes with at least so many good answers; `nil`: all that were asked.
    public var minWorkers: Int?
    /// The run ends when the accuracy on the validation set (the test set where there is none) has reached this; `nil`:
    /// after `rounds`.
    public var targetAccuracy: Double?
    /// The run ends after so many rounds without a better model; `nil`: never.
    public var patience: Int?
    /// How often the whole run is done, with a seed after the other; a run itself has 1.
    public var repetitions = 1

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("partition", \Self.partition, .fixed, "text"),
        Setting("seed", \Self.seed, .fixed, "a whole number from 0"),
        Setting("workers", \Self.workers, .fixed, .count(1...1_000_000, "clients")),
        Setting("rounds", \Self.rounds, .mayGrow, .count(1...1_000_000, "rounds")),
        Setting("fraction", \Self.fraction, .fixed, .share),
        Setting("min_workers", \Self.minWorkers, .fixed, .count(1...1_000_000, "answers")),
        Setting("target_accuracy", \Self.targetAccuracy, .free, .share),
        Setting("repeat", \Self.repetitions, .free, .count(1...1000, "runs")),
        Setting("patience", \Self.patience, .free, .count(1...1_000_000, "rounds")),
    ]

    func rules() -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        do throws(DeMLError) { _ = try Partition(parsing: partition) } catch {
            problems.append(ConfigurationProblem("partition", error.summary))
        }
        if let minWorkers, workers >= 1, NumberRange.share.contains(fraction), minWorkers > clientsPerRound {
            problems.append(
                ConfigurationProblem(
                    "min_workers",
                    "is to be from 1 to the \(clientsPerRound) that train in a round, not \(minWorkers)"))
        }
        return problems
    }

    /// Clients that train in a round: `fraction` of all, rounded, at least one.
    public var clientsPerRound: Int {
        min(workers, max(1, Int(exactly: (fraction * Double(workers)).rounded()) ?? workers))
    }

    /// Good answers a round needs at least.
    public var requiredWorkers: Int { minWorkers ?? clientsPerRound }
}
