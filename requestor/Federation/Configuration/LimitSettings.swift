/// How patient a round is.
public struct LimitSettings: SettingGroup {
    /// How often a client's training is given to another worker after a failure.
    public var retries = 2
    /// A worker that needs longer than so many seconds for one training is killed and counts as late.
    public var timeout = 3600.0
    /// A worker that has taken so many times the median of the finished ones gets company: its task is also given to
    /// another, and the first good answer counts. 0: never.
    public var stragglerFactor = 4.0
    /// After so many seconds a round closes as soon as it has `minWorkers` answers; `nil`: it waits for all.
    public var roundTimeout: Double?

    public init() {}

    static let settings: [Setting<Self>] = [
        Setting("retries", \Self.retries, .free, .count(0...1000, "further tries")),
        Setting("timeout", \Self.timeout, .free, .seconds),
        Setting(
            "straggler_factor", \Self.stragglerFactor, .free,
            NumberRange(1, 1e6, "times the median", includesLower: false, or: (0, "never"))),
        Setting("round_timeout", \Self.roundTimeout, .free, .seconds),
    ]

    func rules() -> [ConfigurationProblem] { [] }
}
