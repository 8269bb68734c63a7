import Aggregation

/// What the server makes of the deltas.
public struct AveragingSettings: SettingGroup {
    /// What the averaged delta is multiplied by.
    public var serverLearningRate = 1.0
    /// FedAvgM: momentum of the averaged deltas over rounds.
    public var serverMomentum = 0.0
    public var serverNesterov = false
    /// Deltas with a larger Euclidean norm are scaled down to it; `nil`: never.
    public var clipNorm: Double?
    /// A delta with a larger norm than this is refused, and its client's training retried; `nil`: none is.
    public var maxNorm: Double?
    /// FedBN: what batch_norm has learned and counted stays with each client.
    public var localBatchNorm = false

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("server_learning_rate", \Self.serverLearningRate, .fixed, .positive),
        Setting("server_momentum", \Self.serverMomentum, .fixed, .belowOne),
        Setting("server_nesterov", \Self.serverNesterov, .fixed, "true or false"),
        Setting("clip_norm", \Self.clipNorm, .fixed, .positive),
        Setting("max_norm", \Self.maxNorm, .fixed, .positive),
        Setting("local_batch_norm", \Self.localBatchNorm, .fixed, "true or false"),
    ]

    func rules() -> [ConfigurationProblem] {
        serverNesterov && serverMomentum == 0
            ? [ConfigurationProblem("server_nesterov", "needs a server_momentum above 0")] : []
    }
}

extension Aggregator {
    /// What the settings say of the server's side.
    public init(_ configuration: RunConfiguration) {
        self.init(
            rule: FederatedAveraging(),
            optimizer: ServerMomentum(
                learningRate: configuration.averaging.serverLearningRate,
                momentum: configuration.averaging.serverMomentum,
                isNesterov: configuration.averaging.serverNesterov),
            clipping: configuration.averaging.clipNorm.map(NormClipping.init(norm:)))
    }
}
