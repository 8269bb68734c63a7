/// Where the renting stands: what the market has brought so far and how far the machines are.
public struct MarketOverview: Sendable, Equatable {
    /// Offers that came, several of one provider counted each.
    public var offers: Int
    public var providers: Int
    /// Providers none of whose offers may be taken, by the reason.
    public var refused: [String: Int] = [:]
    public var negotiating = 0
    /// Agreements under which the image is being deployed and started, and how long the slowest takes already.
    public var starting = 0
    public var longestStart = Duration.zero
    /// Machines in working order.
    public var ready = 0
    public var wanted: Int
    /// Offers are being gathered for a moment, so that the cheapest are taken.
    public var isGathering = false

    public init(offers: Int, providers: Int, wanted: Int) {
        self.offers = offers
        self.providers = providers
        self.wanted = wanted
    }

    /// `31 offers (12 too dear, 3 in another subnet), 2 negotiating, 1 deploying for 12 s, 3 of 6 ready`.
    public var line: String {
        guard offers > 0 else { return "no offer seen yet, 0 of \(wanted) ready" }
        var reasons = refused.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(3).map {
            "\($0.value) \($0.key)"
        }
        if refused.count > 3 { reasons.append("\(refused.values.reduce(0, +)) refused in all") }
        var parts = [
            "\(offers) offer\(offers == 1 ? "" : "s")"
                + (reasons.isEmpty ? "" : " (\(reasons.joined(separator: ", ")))")
        ]
        if isGathering { parts.append("waiting a moment for cheaper ones") }
        if negotiating > 0 { parts.append("\(negotiating) negotiating") }
        if starting > 0 { parts.append("\(starting) deploying for \(longestStart.components.seconds) s") }
        parts.append("\(ready) of \(wanted) ready")
        return parts.joined(separator: ", ")
    }
}
