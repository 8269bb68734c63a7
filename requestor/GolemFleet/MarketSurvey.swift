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
        _ found: [(id: String, offer: Offer)], settings: GolemSettings, memory: [String: ProviderMemory.Record] = [:]
    ) {
        let filters: [(name: String, objection: (Offer) -> String?)] = [
            ("subnet \(settings.subnet)", { $0.subnet == settings.subnet ? nil : "subnet \($0.subnet ?? "-")" }),
            ("virtual machine (vm)", { $0.runtime == "vm" ? nil : "runtime \($0.runtime ?? "-")" }),
            (
                "paid by \(settings.platform)",
                { $0.paymentPlatforms.contains(settings.platform) ? nil : "takes no \(settings.platform)" }
            ),
            (
                "memory of \(shortText(settings.minimumMemoryGiB)) GiB",
                {
                    ($0.memoryGiB ?? 0) >= settings.minimumMemoryGiB
                        ? nil : "memory \(shortText($0.memoryGiB ?? 0)) GiB"
                }
            ),
            (
                "disk of \(shortText(settings.minimumStorageGiB)) GiB",
                {
                    ($0.storageGiB ?? 0) >= settings.minimumStorageGiB
                        ? nil : "disk \(shortText($0.storageGiB ?? 0)) GiB"
                }
            ),
            (
                "\(settings.minimumCores) \(settings.minimumCores == 1 ? "core" : "cores")",
                { ($0.cores ?? $0.threads ?? 0) >= settings.minimumCores ? nil : "\($0.cores ?? 0) cores" }
            ),
            ("price limits", { settings.priceLimits.objection(to: $0) }),
        ]
        var left = [Int](repeating: 0, count: filters.count)
        var lines: [Line] = []
        for (id, offer) in found {
            var objection: String?
            for (index, filter) in filters.enumerated() {
                objection = filter.objection(offer)
                if objection != nil { break }
                left[index] += 1
            }
            let threads = max(1, offer.threads ?? 1)
            lines.append(
                Line(
                    provider: offer.nodeName, id: id, threads: threads, memoryGiB: offer.memoryGiB ?? 0,
                    perHour: offer.price?.perHour(threads: threads),
                    perCPUHour: offer.price.map { $0.perCPUSecond * 3600 }, start: offer.price?.start,
                    objection: objection, speed: memory[id]?.speed))
        }
        offers = lines.sorted {
            ($0.objection == nil ? 0 : 1, $0.perHour ?? .infinity, $0.id)
                < ($1.objection == nil ? 0 : 1, $1.perHour ?? .infinity, $1.id)
        }
        steps = zip(filters, left).map { Step(filter: $0.name, left: $1) }
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
        let cheapest = usable.prefix(machines)
        guard !cheapest.isEmpty else { return nil }
        let sum = cheapest.reduce(0) { $0 + ($1.start ?? 0) + hours * ($1.perHour ?? 0) }
        return sum * Double(machines) / Double(cheapest.count)
    }

    /// Listens to the market. The daemon learns of offers only while it has a demand, so it is given one meanwhile.
    /// - Parameter enough: returns early when so many usable offers are there.
    public static func take(
        _ client: GolemClient, _ settings: GolemSettings, for time: Duration, enough: Int = .max,
        memory: [String: ProviderMemory.Record] = [:]
    ) async throws -> MarketSurvey {
        let inSubnet = Constraint.equal(PropertyName.subnet, settings.subnet)
        let demand = try await client.market.subscribe(
            Demand(
                properties: [
                    PropertyName.subnet: .string(settings.subnet),
                    PropertyName.expiration: JSON((Timestamp.now() + .seconds(3600)).milliseconds),
                ], constraints: inSubnet))
        var newest: [NodeID: (id: String, offer: Offer, date: Timestamp?)] = [:]
        let outcome: Result<Void, any Error>
        do {
            let scan = try await client.market.beginScan(inSubnet)
            let end = ContinuousClock.now + time
            while ContinuousClock.now < end {
                for found in try await client.market.scanned(scan, timeout: min(.seconds(1), end - .now)) {
                    // A provider publishes anew after each agreement: the newest offer counts.
                    if let old = newest[found.providerID]?.date, let date = found.timestamp, date < old { continue }
                    newest[found.providerID] = (found.providerID.rawValue, found.offer, found.timestamp)
                }
                let survey = MarketSurvey(newest.values.map { ($0.id, $0.offer) }, settings: settings)
                if survey.usable.count >= enough { break }
            }
            try? await client.market.endScan(scan)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try? await client.market.unsubscribe(demand)
        try outcome.get()
        return MarketSurvey(newest.values.map { ($0.id, $0.offer) }, settings: settings, memory: memory)
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
