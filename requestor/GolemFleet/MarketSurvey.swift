import Golem

/// What is on the market now, what each filter of a run leaves of it, and what the rest costs.
public struct MarketSurvey: Sendable, Equatable {
    /// One filter, in the order in which they are applied.
    public struct Step: Sendable, Equatable, Codable {
        public var filter: String
        /// Offers that passed this one and all before.
        public var left: Int
    }

    /// One provider's offer as a table shows it.
    public struct Line: Sendable, Equatable, Codable {
        public var provider: String
        public var id: String
        public var threads: Int
        public var memoryGiB: Double
        /// GLM an hour with all threads busy; absent when it cannot be told.
        public var perHour: Double?
        public var perCPUHour: Double?
        public var start: Double?
        /// The first filter that stopped it; absent when it is of use.
        public var objection: String?
        /// Multiply-adds a second in earlier runs.
        public var speed: Double?

        enum CodingKeys: String, CodingKey {
            case provider, id, threads, start, objection
            case speed = "multiply_adds_per_second"
            case memoryGiB = "memory_gib"
            case perHour = "glm_per_hour"
            case perCPUHour = "glm_per_cpu_hour"
        }
    }

    public var offers: [Line]
    public var steps: [Step]

    /// Judges offers by a run's settings.
    /// - Parameter memory: what is known of providers, by id.
    public init(
        _ found: [(node: NodeID, offer: Offer)], settings: GolemSettings, memory: [String: ProviderMemory.Record] = [:]
    ) {
        let policy = settings.offerPolicy
        let criteria = OfferPolicy.Criterion.allCases.filter { $0 != .node }
        var refused = [Int](repeating: 0, count: OfferPolicy.Criterion.allCases.count)
        var lines: [Line] = []
        for (node, offer) in found {
            let id = node.rawValue
            let objection = policy.objection(to: offer, of: node)
            if let objection { refused[objection.criterion.rawValue] += 1 }
            let threads = max(1, offer.threads ?? 1)
            lines.append(
                Line(
                    provider: offer.nodeName, id: id, threads: threads, memoryGiB: offer.memoryGiB ?? 0,
                    perHour: offer.price?.perHour(threads: threads),
                    perCPUHour: offer.price.map { $0.perCPUSecond * 3600 }, start: offer.price?.start,
                    objection: objection?.description, speed: memory[id]?.speed))
        }
        offers = lines.sorted {
            ($0.objection == nil ? 0 : 1, $0.perHour ?? .infinity, $0.id)
                < ($1.objection == nil ? 0 : 1, $1.perHour ?? .infinity, $1.id)
        }
        var left = found.count
        steps = criteria.map { criterion in
            left -= refused[criterion.rawValue]
            return Step(filter: policy.name(of: criterion), left: left)
        }
    }

    /// Offers that a run could take, the cheapest first.
    public var usable: [Line] { offers.filter { $0.objection == nil } }

    /// The least, middle and highest price of an hour among the usable.
    public var spread: (least: Double, median: Double, most: Double)? {
        let prices = usable.compactMap(\.perHour).sorted()
        guard let least = prices.first, let most = prices.last else { return nil }
        return (least, prices[(prices.count - 1) / 2], most)
    }

    /// GLM that so many machines are likely to cost for so long: the cheapest ones, all threads busy.
    public func expectedCost(machines: Int, hours: Double) -> Double? {
        Self.expectedCost(usable.map { ($0.start ?? 0, $0.perHour ?? .infinity) }, machines: machines, hours: hours)
    }

    /// - Parameter prices: of machines that may be had: at the start, and of an hour with all threads busy.
    fileprivate static func expectedCost(
        _ prices: [(start: Double, perHour: Double)], machines: Int, hours: Double
    ) -> Double? {
        let cheapest = prices.sorted { ($0.perHour, $0.start) < ($1.perHour, $1.start) }.prefix(machines)
        guard !cheapest.isEmpty else { return nil }
        let sum = cheapest.reduce(0) { $0 + $1.start + hours * ($1.perHour.isFinite ? $1.perHour : 0) }
        return sum * Double(machines) / Double(cheapest.count)
    }

    /// Listens to the market. The daemon learns of offers only while it has a demand, so it is given one meanwhile.
    /// - Parameters:
    ///   - time: at most so long; less when for `quiet` nothing new came.
    ///   - enough: returns early when so many usable offers are there.
    ///   - progress: told about every second what there is.
    public static func take(
        _ client: GolemClient, _ settings: GolemSettings, for time: Duration, quiet: Duration = .seconds(15),
        enough: Int = .max, memory: [String: ProviderMemory.Record] = [:],
        progress: @Sendable (Progress) -> Void = { _ in }
    ) async throws -> MarketSurvey {
        let inSubnet = Constraint.equal(PropertyName.subnet, settings.subnet)
        let demand = try await client.market.subscribe(
            Demand(
                properties: [
                    PropertyName.subnet: .string(settings.subnet),
                    PropertyName.expiration: JSON((Timestamp.system() + .seconds(3600)).milliseconds),
                ], constraints: inSubnet))
        var offers = FoundOffers(policy: settings.offerPolicy)
        let outcome: Result<Void, any Error>
        do {
            let scan = try await client.market.beginScan(inSubnet)
            let start = ContinuousClock.now
            var newest = start
            while true {
                let now = ContinuousClock.now
                let left = min(time - (now - start), offers.count == 0 ? time : quiet - (now - newest))
                guard left > .zero, offers.prices.count < enough else { break }
                for found in try await client.market.scanned(scan, timeout: min(.seconds(1), left)) {
                    if offers.add(found) { newest = .now }
                }
                progress(Progress(offers: offers.count, prices: offers.prices, elapsed: .now - start))
            }
            try? await client.market.endScan(scan)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try? await client.market.unsubscribe(demand)
        try outcome.get()
        return MarketSurvey(offers.all, settings: settings, memory: memory)
    }

    /// How far the listening is.
    public struct Progress: Sendable {
        /// How many there are.
        public var offers: Int
        /// Of those that are of use: at the start, and of an hour with all threads busy.
        fileprivate var prices: [(start: Double, perHour: Double)]
        public var elapsed: Duration

        package init(offers: Int, prices: [(start: Double, perHour: Double)], elapsed: Duration) {
            self.offers = offers
            self.prices = prices
            self.elapsed = elapsed
        }

        /// How many are of use.
        public var usable: Int { prices.count }

        /// As ``MarketSurvey/expectedCost(machines:hours:)`` would say by what is there so far; nil while there are fewer
        /// machines than that.
        public func expectedCost(machines: Int, hours: Double) -> Double? {
            usable < machines ? nil : MarketSurvey.expectedCost(prices, machines: machines, hours: hours)
        }
    }
}

/// Offers as a scan tells them: several of a node are several, but one that says the same as before takes its place, as a
/// provider publishes anew after each agreement.
private struct FoundOffers {
    private struct Key: Hashable {
        var node: NodeID
        var properties: [String: JSON]
    }

    private let policy: OfferPolicy
    private var seen: Set<Key> = []
    private(set) var prices: [(start: Double, perHour: Double)] = []

    init(policy: OfferPolicy) {
        self.policy = policy
    }

    var count: Int { seen.count }
    var all: [(node: NodeID, offer: Offer)] { seen.map { ($0.node, Offer(properties: $0.properties)) } }

    /// Whether it says something new.
    mutating func add(_ found: ScannedOffer) -> Bool {
        guard seen.insert(Key(node: found.providerID, properties: found.offer.properties)).inserted else {
            return false
        }
        if policy.objection(to: found.offer, of: found.providerID) == nil {
            let (price, threads) = (found.offer.price, max(1, found.offer.threads ?? 1))
            prices.append((price?.start ?? 0, price?.perHour(threads: threads) ?? .infinity))
        }
        return true
    }
}

/// A number in at most four digits that count: for tables, not for arithmetic.
func shortText(_ value: Double) -> String {
    guard value.isFinite else { return "\(value)" }
    var value = value
    if value != 0 {
        var scale = 1.0
        while abs(value) * scale < 1000, scale < 1e12 { scale *= 10 }
        value = (value * scale).rounded() / scale
    }
    return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : "\(value)"
}
