/// Where the work is done.
public struct MachineSettings: SettingGroup {
    /// "local", "simulated" or "golem" (`--on`).
    public var fleet = FleetName.local
    /// How many workers work at once; `nil`: the fleet decides.
    public var parallel: Int?
    /// Threads of a worker; `nil`: the fleet decides.
    public var threads: Int?

    public init() {}

    public enum FleetName: String, Sendable, Codable, CaseIterable {
        case local, simulated, golem
    }

    static let settings: [Setting<Self>] = [
        Setting("fleet", \Self.fleet, .free, "local, simulated or golem"),
        Setting("parallel", \Self.parallel, .free, .count(1...10_000, "workers")),
        Setting("threads", \Self.threads, .free, .count(1...1024, "threads")),
    ]

    func rules() -> [ConfigurationProblem] { [] }
}
