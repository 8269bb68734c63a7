/// A message of the fleet's own, outside any attempt.
public struct FleetNotice: Sendable, Hashable, Codable {
    public enum Level: String, Sendable, Codable { case info, warning }

    public var level: Level
    public var message: String
    public var provider: Provider?
    /// What a program may want to read back from events.jsonl (agreement id, price, …).
    public var details: [String: String]

    /// `details["kind"]` of a notice that says how far the renting is: each takes the place of the one before.
    public static let marketKind = "market"
    public var isRentingProgress: Bool { details["kind"] == FleetNotice.marketKind }
    /// Of such a notice: whether all machines that are wanted are there.
    public var isRentingDone: Bool { details["ready"] == details["wanted"] }

    public init(_ level: Level, _ message: String, provider: Provider? = nil, details: [String: String] = [:]) {
        self.level = level
        self.message = message
        self.provider = provider
        self.details = details
    }
}
