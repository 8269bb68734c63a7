/// Which providers are asked, which machines are kept, and who gets one. Pure: events in, actions out; the time comes
/// with the events.
///
/// It keeps `target` machines: a lost one is replaced, one whose agreement is about to end is exchanged, more are
/// closed. Machines are lent as soon as there are any. A provider that failed `failuresAllowed` times is left.
public struct PoolStateMachine: Sendable {
    public typealias Ticket = Int

    public struct Settings: Sendable {
        public var target: Int
        public var failuresAllowed = 2
        /// How long a ticket waits when no machine that suits it is there or coming.
        public var patience: Duration = .seconds(120)
        public var renewalMargin: Duration = .seconds(180)
        /// How long to collect offers before the first is taken, so that the cheapest is among them.
        public var gathering: Duration = .milliseconds(600)
        /// A negotiation that lasts longer does not hold up others.
        public var slowNegotiation: Duration = .seconds(4)
        /// How long a provider that turned us down is not asked again.
        public var coolDown: Duration = .seconds(5)
        /// How often at most a demand is published anew to hear of known offers again.
        public var refreshInterval: Duration = .seconds(10)

        public init(target: Int) {
            self.target = target
        }
    }

    public enum Action: Sendable, Equatable {
        case startRental(RentalID, NodeID, ProposalID)
        case closeRental(RentalID, code: String, reason: String, blame: Bool)
        case lend(Ticket, RentalID)
        case refuse(Ticket, GolemError.Code, String)
        /// Publish the demand anew: the daemon then proposes all known offers again.
        case refreshDemand
        case leaveProvider(NodeID, reason: String)
        case declineProposal(ProposalID, reason: String)
    }

    package struct Offer: Sendable, Equatable {
        package var proposal: ProposalID
        package var score: Double
        package var name: String
    }

    package enum Phase: Sendable, Equatable {
        case negotiating(since: Timestamp)
        case starting
        case idle
        case lent
        case closing
    }

    package struct Rental: Sendable, Equatable {
        package var provider: NodeID
        package var name: String
        package var score: Double
        package var phase: Phase
        package var expiration: Timestamp?
        /// To be closed when it comes back.
        package var isRetiring = false
    }

    package struct Provider: Sendable, Equatable {
        package var failures = 0
        package var turnedDown = 0
        package var silentUntil: Timestamp?
        package var leftBecause: String?
    }

    package struct Waiting: Sendable, Equatable {
        package var ticket: Ticket
        package var excluding: Set<NodeID>
        package var hopeSeen: Timestamp
    }

    package private(set) var settings: Settings
    package private(set) var offers: [NodeID: Offer] = [:]
    package private(set) var rentals: [RentalID: Rental] = [:]
    package private(set) var providers: [NodeID: Provider] = [:]
    package private(set) var waiting: [Waiting] = []
    private var nextRental: RentalID = 1
    private var firstOffer: Timestamp?
    private var lastRefresh: Timestamp?
    private var refreshes = 0
    private var stopReason: (GolemError.Code, String)?
    private var offersSeen: Set<NodeID> = []
    /// Why offers were not taken, by provider: the last reason.
    private var objections: [NodeID: String] = [:]

    public init(settings: Settings) {
        self.settings = settings
    }

    // MARK: Events

    /// An offer came. `objection` says why it may not be taken.
    public mutating func offerCame(
        _ proposal: ProposalID, from provider: NodeID, name: String, score: Double?, objection: String?,
        at now: Timestamp
    ) -> [Action] {
        offersSeen.insert(provider)
        guard stopReason == nil else { return [] }
        if let reason = providers[provider]?.leftBecause { return [.declineProposal(proposal, reason: reason)] }
        guard objection == nil, let score, !score.isNaN else {
            objections[provider] = objection ?? "not wanted"
            offers[provider] = nil
            return [.declineProposal(proposal, reason: objection ?? "not wanted")]
        }
        objections[provider] = nil
        offers[provider] = Offer(proposal: proposal, score: score, name: name)
        firstOffer = firstOffer ?? now
        return refill(now)
    }

    /// The provider approved an agreement; the machine is being prepared.
    public mutating func rentalApproved(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard case .negotiating = rentals[id]?.phase else { return [] }
        rentals[id]?.phase = .starting
        return []
    }

    public mutating func rentalReady(_ id: RentalID, expiration: Timestamp, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing, rental.phase != .idle, rental.phase != .lent
        else { return [] }
        rentals[id]?.phase = .idle
        rentals[id]?.expiration = expiration
        providers[rental.provider, default: Provider()].turnedDown = 0
        return lend(now) + trim()
    }

    /// The machine is of no more use and is being closed.
    public mutating func rentalLost(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing else { return [] }
        rentals[id]?.phase = .closing
        return refill(now)
    }

    public mutating func rentalClosed(
        _ id: RentalID, _ outcome: RentalStateMachine.Outcome, at now: Timestamp
    ) -> [Action] {
        guard let rental = rentals.removeValue(forKey: id) else { return [] }
        var provider = providers[rental.provider] ?? Provider()
        var actions: [Action] = []
        if outcome.blame {
            provider.failures += 1
            objections[rental.provider] = outcome.reason
        } else if outcome.wasTurnedDown {
            provider.turnedDown += 1
            objections[rental.provider] = outcome.reason
        }
        if outcome.blame || outcome.wasTurnedDown {
            // The longer it fails, the longer it is let alone.
            let factor = 1 << min(provider.failures + provider.turnedDown, 5) - 1
            provider.silentUntil = now + settings.coolDown * max(1, factor)
        }
        if provider.failures >= settings.failuresAllowed, provider.leftBecause == nil {
            provider.leftBecause = outcome.reason
            offers[rental.provider] = nil
            actions.append(.leaveProvider(rental.provider, reason: outcome.reason))
        }
        providers[rental.provider] = provider
        return actions + refill(now)
    }

    /// Someone wants a machine.
    public mutating func wanted(_ ticket: Ticket, excluding: Set<NodeID>, at now: Timestamp) -> [Action] {
        if let (code, reason) = stopReason { return [.refuse(ticket, code, reason)] }
        waiting.append(Waiting(ticket: ticket, excluding: excluding, hopeSeen: now))
        return lend(now)
    }

    public mutating func notWanted(_ ticket: Ticket) {
        waiting.removeAll { $0.ticket == ticket }
    }

    /// A machine comes back in working order.
    public mutating func givenBack(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase == .lent else { return [] }
        if rental.isRetiring { return retire(id, "its agreement is about to end") + refill(now) }
        rentals[id]?.phase = .idle
        return lend(now) + trim()
    }

    /// A machine comes back and is not wanted any more.
    public mutating func discarded(_ id: RentalID, reason: String, blame: Bool, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing else { return [] }
        rentals[id]?.phase = .closing
        return [.closeRental(id, code: "Cancelled", reason: reason, blame: blame)] + refill(now)
    }

    /// A provider is not wanted any more, whatever it offers.
    public mutating func providerLeft(_ id: NodeID, reason: String, at now: Timestamp) -> [Action] {
        guard providers[id]?.leftBecause == nil else { return [] }
        providers[id, default: Provider()].leftBecause = reason
        objections[id] = reason
        offers = offers.filter { $0.key != id }
        var actions: [Action] = [.leaveProvider(id, reason: reason)]
        for (rental, one) in rentals.sorted(by: { $0.key < $1.key }) where one.provider == id && one.phase != .closing {
            rentals[rental]?.phase = .closing
            actions.append(.closeRental(rental, code: "Cancelled", reason: reason, blame: true))
        }
        return actions + refill(now)
    }

    public mutating func targetChanged(_ target: Int, at now: Timestamp) -> [Action] {
        settings.target = max(0, target)
        return trim() + refill(now)
    }

    public mutating func clockTicked(_ now: Timestamp) -> [Action] {
        guard stopReason == nil else { return [] }
        var actions: [Action] = []
        for (id, rental) in rentals.sorted(by: { $0.key < $1.key }) {
            guard let end = rental.expiration, end - now < settings.renewalMargin else { continue }
            if rental.phase == .idle { actions += retire(id, "its agreement is about to end") }
            if rental.phase == .lent { rentals[id]?.isRetiring = true }
        }
        actions += refill(now)
        if needsRefresh(now) {
            lastRefresh = now
            refreshes += 1
            actions.append(.refreshDemand)
        }
        return actions + refuseHopeless(now)
    }

    /// Time passed in which nothing could come: who waits does not do so in vain.
    public mutating func clockStoodStill(_ now: Timestamp) {
        for index in waiting.indices { waiting[index].hopeSeen = now }
    }

    /// Ends everything: no more machines, all that there are are closed.
    public mutating func stop(_ code: GolemError.Code, _ reason: String, closeCode: String) -> [Action] {
        guard stopReason == nil else { return [] }
        stopReason = (code, reason)
        let refusals = waiting.map { Action.refuse($0.ticket, code, reason) }
        waiting = []
        offers = [:]
        var actions = refusals
        for (id, rental) in rentals.sorted(by: { $0.key < $1.key }) where rental.phase != .closing {
            rentals[id]?.phase = .closing
            actions.append(.closeRental(id, code: closeCode, reason: reason, blame: false))
        }
        return actions
    }

    // MARK: Decisions

    /// Rentals that count towards the target.
    private func counted(_ now: Timestamp) -> Int {
        rentals.values.count { rental in
            switch rental.phase {
            case .negotiating(let since): now - since < settings.slowNegotiation
            case .starting, .idle: true
            case .lent: !rental.isRetiring
            case .closing: false
            }
        }
    }

    private mutating func refill(_ now: Timestamp) -> [Action] {
        guard stopReason == nil, let firstOffer else { return [] }
        guard now - firstOffer >= settings.gathering || offers.count >= 2 * settings.target else { return [] }
        var actions: [Action] = []
        var missing = settings.target - counted(now)
        let busy = Set(rentals.values.filter { $0.phase != .closing }.map(\.provider))
        let usable = offers.filter { id, _ in
            !busy.contains(id) && (providers[id]?.silentUntil.map { $0 <= now } ?? true)
        }.sorted {
            let (left, right) = (providers[$0.key]?.failures ?? 0, providers[$1.key]?.failures ?? 0)
            return (left, $0.value.score, $0.key) < (right, $1.value.score, $1.key)
        }
        for (provider, offer) in usable {
            guard missing > 0 else { break }
            missing -= 1
            offers[provider] = nil
            let id = nextRental
            nextRental += 1
            rentals[id] = Rental(
                provider: provider, name: offer.name, score: offer.score, phase: .negotiating(since: now))
            actions.append(.startRental(id, provider, offer.proposal))
        }
        return actions
    }

    private mutating func lend(_ now: Timestamp) -> [Action] {
        var actions: [Action] = []
        for waiter in waiting {
            let idle = rentals.filter { $0.value.phase == .idle && !waiter.excluding.contains($0.value.provider) }
            guard let (id, _) = idle.min(by: { ($0.value.score, $0.key) < ($1.value.score, $1.key) }) else { continue }
            rentals[id]?.phase = .lent
            waiting.removeAll { $0.ticket == waiter.ticket }
            actions.append(.lend(waiter.ticket, id))
        }
        return actions
    }

    /// Closes idle machines that are more than wanted, the dearest first, and negotiations that are not needed now.
    private mutating func trim() -> [Action] {
        var actions: [Action] = []
        func count(_ wanted: (Rental) -> Bool) -> Int { rentals.values.count(where: wanted) }
        let working = count { $0.phase == .idle || ($0.phase == .lent && !$0.isRetiring) }
        var surplus = working - settings.target
        let idle = rentals.filter { $0.value.phase == .idle }.sorted { $0.value.score > $1.value.score }
        for (id, _) in idle where surplus > 0 {
            surplus -= 1
            actions += retire(id, "there are more machines than wanted")
        }
        if working >= settings.target {
            for (id, rental) in rentals.sorted(by: { $0.key < $1.key }) {
                guard case .negotiating = rental.phase else { continue }
                actions += retire(id, "there are more machines than wanted")
            }
        }
        return actions
    }

    private mutating func retire(_ id: RentalID, _ reason: String) -> [Action] {
        rentals[id]?.phase = .closing
        return [.closeRental(id, code: "Success", reason: reason, blame: false)]
    }

    private func needsRefresh(_ now: Timestamp) -> Bool {
        // A demand that is published anew ends the negotiations of the old one.
        let negotiating = rentals.values.contains {
            if case .negotiating = $0.phase { true } else { false }
        }
        guard counted(now) < settings.target, !negotiating else { return false }
        let busy = Set(rentals.values.filter { $0.phase != .closing }.map(\.provider))
        guard
            !offers.keys.contains(where: {
                !busy.contains($0) && (providers[$0]?.silentUntil.map { $0 <= now } ?? true)
            })
        else { return false }
        guard let last = lastRefresh ?? firstOffer else { return false }
        return now - last >= settings.refreshInterval * min(6, refreshes + 1)
    }

    private mutating func refuseHopeless(_ now: Timestamp) -> [Action] {
        var actions: [Action] = []
        for index in waiting.indices {
            let excluding = waiting[index].excluding
            let hope = rentals.values.contains { rental in
                guard !excluding.contains(rental.provider) else { return false }
                switch rental.phase {
                case .starting, .idle, .lent: return true
                case .negotiating, .closing: return false
                }
            }
            if hope { waiting[index].hopeSeen = now }
        }
        for waiter in waiting where now - waiter.hopeSeen >= settings.patience {
            actions.append(.refuse(waiter.ticket, .noMachine, shortage))
        }
        waiting.removeAll { now - $0.hopeSeen >= settings.patience }
        return actions
    }

    /// Why there is no machine, for a person.
    public var shortage: String {
        if offersSeen.isEmpty { return "no provider offered anything" }
        var reasons: [String: Int] = [:]
        for reason in objections.values { reasons[reason, default: 0] += 1 }
        let list = reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(5).map {
            "\($0.value) × \($0.key)"
        }
        let seen = "\(offersSeen.count) provider\(offersSeen.count == 1 ? "" : "s") seen, none usable"
        return list.isEmpty ? seen : seen + ": " + list.joined(separator: "; ")
    }

    public var isStopped: Bool { stopReason != nil }

    /// Machines in working order: idle and lent.
    public var readyCount: Int { rentals.values.count { $0.phase == .idle || $0.phase == .lent } }

    /// Rentals that are not over yet, those being closed included.
    public var openRentals: [RentalID] { rentals.keys.sorted() }

    public var machines: [MachineInfo] {
        rentals.sorted { $0.key < $1.key }.map { _, rental in
            let state: MachineInfo.State =
                switch rental.phase {
                case .negotiating: .negotiating
                case .starting: .starting
                case .idle: .idle
                case .lent: .lent
                case .closing: .closing
                }
            return MachineInfo(providerID: rental.provider, providerName: rental.name, state: state)
        }
    }
}
