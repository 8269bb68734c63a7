/// Which providers are asked, which machines are kept, and who gets one. Pure: events in, actions out; the time comes
/// with the events.
///
/// It keeps `target` machines: a lost one is replaced, one whose agreement is about to end is exchanged, so is one that
/// costs a multiple of what another asks; more are closed. Offers are gathered for a moment, then the cheapest are taken.
/// Machines are lent as soon as there are any. A provider that failed `failuresAllowed` times is left for a while, the longer
/// the more often; sooner, when nobody else is left to ask and it has done work before. Who is left because it is not to be
/// trusted stays so.
public struct PoolStateMachine: Sendable {
    public typealias Ticket = Int

    public struct Settings: Sendable {
        public var target: Int
        public var failuresAllowed = 2
        /// How long a provider is left after its failures, the first time; twice as long each time after. As long after its
        /// last failure one failure is forgiven.
        public var forgiveness: Duration = .seconds(600)
        /// A provider that has failed so often one after the other is not asked sooner, even where nobody else is left.
        public var failuresInARow = 6
        /// How long a ticket waits when no machine that suits it is there or coming.
        public var patience: Duration = .seconds(120)
        public var renewalMargin: Duration = .seconds(180)
        /// How long to collect offers before the first is taken, so that the cheapest is among them: at least, and at most
        /// while others keep coming.
        public var gathering: Duration = .milliseconds(600)
        public var longestGathering: Duration = .milliseconds(1500)
        /// A negotiation that lasts longer is tried with another provider as well; whoever is first is taken.
        public var slowNegotiation: Duration = .seconds(4)
        /// How long, at least, to wait for others when all that offered something have failed.
        public var exhaustion: Duration = .seconds(30)
        /// A machine is exchanged for one whose score is below this share of its own; 0 is never.
        public var exchangeBelow = 0.0
        /// How often at most a machine is exchanged for a better one.
        public var exchangeInterval: Duration = .seconds(30)
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
        /// - until: when it may be asked again; nil: never.
        case leaveProvider(NodeID, reason: String, until: Timestamp?)
        /// The proposal will not be answered: it is refused, or others are better.
        case forget(ProposalID)
        /// A lent machine is to be given back when its present work is done; another takes its place.
        case retireWhenFree(RentalID, reason: String)
    }

    package enum Phase: Sendable, Equatable {
        case negotiating(since: Timestamp)
        case starting(since: Timestamp)
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
        /// Why it is to be closed when it comes back.
        package var retirement: String?
        package var isRetiring: Bool { retirement != nil }

        func ends(before time: Timestamp) -> Bool { expiration.map { $0 < time } ?? false }
    }

    package struct Provider: Sendable, Equatable {
        package var failures = 0
        package var lastFailure: Timestamp?
        /// Since it last did work.
        package var failuresInARow = 0
        package var hasWorked = false
        package var turnedDown = 0
        package var silentUntil: Timestamp?
        /// When it last failed or turned us down.
        package var silentSince: Timestamp?
        package var leftBecause: String?
        /// Nil: for good.
        package var leftUntil: Timestamp?
        package var timesLeft = 0
    }

    package struct Waiting: Sendable, Equatable {
        package var ticket: Ticket
        package var excluding: Set<NodeID>
        package var hopeSeen: Timestamp
    }

    package private(set) var settings: Settings
    package private(set) var offers: OfferBook
    package private(set) var rentals: [RentalID: Rental] = [:]
    package private(set) var providers: [NodeID: Provider] = [:]
    package private(set) var waiting: [Waiting] = []
    private var nextRental: RentalID = 1
    private var firstOffer: Timestamp?
    private var newestOffer: Timestamp?
    /// When something last gave hope of another machine, or took it.
    private var lastChange: Timestamp?
    private var lastExchange: Timestamp?
    /// The better machine that is being rented in another's place, and that other.
    private var exchange: (successor: RentalID, old: RentalID)?
    /// Whether the next offer may be taken at once.
    private var isShort = true
    private var lastRefresh: Timestamp?
    private var refreshes = 0
    private var stopReason: (GolemError.Code, String)?
    private var offersSeen = 0
    private var providersSeen: Set<NodeID> = []
    /// Why offers were not taken, by provider: the last reason.
    private var objections: [NodeID: String] = [:]

    public init(settings: Settings) {
        self.settings = settings
        offers = OfferBook(capacity: max(1000, 4 * settings.target))
    }

    // MARK: Events

    /// An offer came.
    /// - Parameters:
    ///   - terms: the same number for two offers of one provider that say the same.
    ///   - objection: why it may not be taken, in words that are the same for all that are refused for it.
    public mutating func offerCame(
        _ proposal: ProposalID, from provider: NodeID, name: String, terms: Int = 0, score: Double?, objection: String?,
        at now: Timestamp
    ) -> [Action] {
        offersSeen += 1
        providersSeen.insert(provider)
        if let until = providers[provider]?.leftUntil, until <= now { comeBack(provider, now) }
        guard stopReason == nil, providers[provider]?.leftBecause == nil else { return [.forget(proposal)] }
        guard objection == nil, let score, !score.isNaN else {
            // Another offer of this node may do.
            if offers.offers(of: provider).isEmpty { objections[provider] = objection ?? "not wanted" }
            return [.forget(proposal)]
        }
        objections[provider] = nil
        let gone = offers.add(
            .init(
                proposal: proposal, provider: provider, name: name, score: score, terms: terms,
                failures: providers[provider]?.failures ?? 0))
        firstOffer = firstOffer ?? now
        newestOffer = now
        return gone.map { .forget($0) } + (isShort ? refill(now) : [])
    }

    /// The provider approved an agreement; the machine is being prepared.
    public mutating func rentalApproved(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard case .negotiating = rentals[id]?.phase else { return [] }
        rentals[id]?.phase = .starting(since: now)
        return trim()
    }

    public mutating func rentalReady(_ id: RentalID, expiration: Timestamp, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing, rental.phase != .idle, rental.phase != .lent
        else { return [] }
        rentals[id]?.phase = .idle
        rentals[id]?.expiration = expiration
        lastChange = now
        providers[rental.provider, default: Provider()].turnedDown = 0
        return lend(now) + completeExchange(id) + trim()
    }

    /// The machine is of no more use and is being closed.
    public mutating func rentalLost(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing else { return [] }
        rentals[id]?.phase = .closing
        lastChange = now
        if exchange?.old == id { exchange = nil }
        return refill(now)
    }

    public mutating func rentalClosed(
        _ id: RentalID, _ outcome: RentalStateMachine.Outcome, at now: Timestamp
    ) -> [Action] {
        guard let rental = rentals.removeValue(forKey: id) else { return [] }
        var provider = providers[rental.provider] ?? Provider()
        var actions: [Action] = []
        lastChange = now
        if exchange?.successor == id || exchange?.old == id { exchange = nil }
        if outcome.blame {
            if let last = provider.lastFailure, now - last >= settings.forgiveness, provider.failures > 0 {
                provider.failures -= 1
            }
            provider.failures += 1
            provider.failuresInARow += 1
            provider.lastFailure = now
            objections[rental.provider] = outcome.reason
        } else if outcome.wasTurnedDown {
            provider.turnedDown += 1
            objections[rental.provider] = outcome.reason
        }
        // Of several offers of a node the one may be old and another good.
        let hasAnother = outcome.wasUnanswered && !offers.offers(of: rental.provider).isEmpty
        if outcome.blame || outcome.wasTurnedDown && !hasAnother {
            // The longer it fails, the longer it is let alone.
            let factor = 1 << min(provider.failures + provider.turnedDown, 5) - 1
            provider.silentUntil = now + settings.coolDown * max(1, factor)
            provider.silentSince = now
        }
        if provider.failures >= settings.failuresAllowed, provider.leftBecause == nil {
            provider.leftBecause = outcome.reason
            let until = now + settings.forgiveness * (1 << min(provider.timesLeft, 5))
            provider.leftUntil = until
            provider.timesLeft += 1
            actions += offers.removeAll(of: rental.provider).map { .forget($0) }
            actions.append(.leaveProvider(rental.provider, reason: outcome.reason, until: until))
        } else if outcome.blame {
            offers.failed(rental.provider, failures: provider.failures)
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

    /// A lent machine did what it was asked: its provider is one to come back to.
    public mutating func worked(_ id: RentalID) {
        guard let rental = rentals[id], rental.phase == .lent else { return }
        providers[rental.provider, default: Provider()].hasWorked = true
        providers[rental.provider]?.failuresInARow = 0
    }

    /// A machine comes back in working order.
    public mutating func givenBack(_ id: RentalID, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase == .lent else { return [] }
        worked(id)
        if let reason = rental.retirement { return retire(id, reason) + refill(now) }
        rentals[id]?.phase = .idle
        return lend(now) + trim()
    }

    /// A machine comes back and is not wanted any more.
    public mutating func discarded(_ id: RentalID, reason: String, blame: Bool, at now: Timestamp) -> [Action] {
        guard let rental = rentals[id], rental.phase != .closing else { return [] }
        rentals[id]?.phase = .closing
        lastChange = now
        if exchange?.old == id { exchange = nil }
        return [.closeRental(id, code: "Cancelled", reason: reason, blame: blame)] + refill(now)
    }

    /// A provider is not wanted any more, whatever it offers.
    public mutating func providerLeft(_ id: NodeID, reason: String, at now: Timestamp) -> [Action] {
        guard providers[id]?.leftBecause == nil || providers[id]?.leftUntil != nil else { return [] }
        providers[id, default: Provider()].leftBecause = reason
        providers[id]?.leftUntil = nil
        objections[id] = reason
        var actions: [Action] = offers.removeAll(of: id).map { .forget($0) }
        actions.append(.leaveProvider(id, reason: reason, until: nil))
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
        let ending = rentals.filter { $0.value.ends(before: now + settings.renewalMargin) }.keys.sorted()
        for id in ending {
            let reason = "its agreement is about to end"
            if rentals[id]?.phase == .idle { actions += retire(id, reason) }
            if rentals[id]?.phase == .lent { rentals[id]?.retirement = reason }
        }
        askAgain(now)
        actions += refill(now) + improve(now)
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
        if lastChange != nil { lastChange = now }
    }

    /// Ends everything: no more machines, all that there are are closed.
    public mutating func stop(_ code: GolemError.Code, _ reason: String, closeCode: String) -> [Action] {
        guard stopReason == nil else { return [] }
        stopReason = (code, reason)
        let refusals = waiting.map { Action.refuse($0.ticket, code, reason) }
        waiting = []
        offers = OfferBook(capacity: 1)
        var actions = refusals
        for (id, rental) in rentals.sorted(by: { $0.key < $1.key }) where rental.phase != .closing {
            rentals[id]?.phase = .closing
            actions.append(.closeRental(id, code: closeCode, reason: reason, blame: false))
        }
        return actions
    }

    // MARK: Decisions

    /// The provider may be asked again: one more failure, and it is left for longer.
    private mutating func comeBack(_ id: NodeID, _ now: Timestamp) {
        providers[id]?.leftBecause = nil
        providers[id]?.leftUntil = nil
        providers[id]?.failures = max(0, settings.failuresAllowed - 1)
        providers[id]?.lastFailure = now
        objections[id] = nil
    }

    /// Where somebody waits and nobody is left to ask, those that did work in this run and then failed are: they may have
    /// come back, and a machine that fails now and then is better than none.
    private mutating func askAgain(_ now: Timestamp) {
        guard isExhausted, !waiting.isEmpty else { return }
        let those = providers.filter { _, provider in
            provider.leftUntil != nil && provider.hasWorked && provider.failuresInARow < settings.failuresInARow
                && !isSilent(provider, now)
        }
        guard !those.isEmpty else { return }
        for id in those.keys { comeBack(id, now) }
        clockStoodStill(now)
        // Their offers have been forgotten.
        refreshes = 0
    }

    /// How long a provider that failed, or turned us down, is let alone: where there is nobody else, not long.
    private func isSilent(_ provider: Provider, _ now: Timestamp) -> Bool {
        guard let until = provider.silentUntil, until > now else { return false }
        guard rentals.values.allSatisfy({ $0.phase == .closing }), let since = provider.silentSince else { return true }
        return now - since < settings.coolDown * 3
    }

    /// How many machines of the target are there or coming. Negotiations that last long are doubled, but no more of them
    /// than there are machines wanted: they may all be approved at once.
    private func counted(_ now: Timestamp) -> Int {
        var count = 0
        var slow = 0
        for rental in rentals.values {
            switch rental.phase {
            case .negotiating(let since) where now - since >= settings.slowNegotiation: slow += 1
            case .negotiating, .starting, .idle: count += 1
            case .lent: count += rental.isRetiring ? 0 : 1
            case .closing: break
            }
        }
        // A successor does not count before it has taken the other's place.
        return count + max(0, slow - max(settings.target, 5)) - (exchange == nil ? 0 : 1)
    }

    private mutating func refill(_ now: Timestamp) -> [Action] {
        guard stopReason == nil, let firstOffer, let newestOffer else { return [] }
        let gathered = now - firstOffer
        guard gathered >= settings.gathering else { return [] }
        // While offers keep coming, a cheaper one may be among them.
        guard !rentals.isEmpty || gathered >= settings.longestGathering || now - newestOffer >= .milliseconds(300)
        else { return [] }
        var missing = settings.target - counted(now)
        var actions: [Action] = []
        if missing > 0 {
            for offer in takeable(now, atMost: missing) {
                missing -= 1
                actions.append(take(offer, now))
            }
        }
        isShort = missing > 0
        return actions
    }

    /// The best offers that may be taken now, one a provider.
    private func takeable(_ now: Timestamp, atMost count: Int) -> [OfferBook.Entry] {
        var busy = Set(rentals.values.filter { $0.phase != .closing }.map(\.provider))
        var taken: [OfferBook.Entry] = []
        for entry in offers.entries {
            guard taken.count < count else { break }
            guard !busy.contains(entry.provider), !(providers[entry.provider].map { isSilent($0, now) } ?? false)
            else { continue }
            busy.insert(entry.provider)
            taken.append(entry)
        }
        return taken
    }

    private mutating func take(_ offer: OfferBook.Entry, _ now: Timestamp) -> Action {
        offers.remove(offer)
        let id = nextRental
        nextRental += 1
        rentals[id] = Rental(
            provider: offer.provider, name: offer.name, score: offer.score, phase: .negotiating(since: now))
        return .startRental(id, offer.provider, offer.proposal)
    }

    /// When all machines work and one of them costs a multiple of what another provider asks, that one is rented; the dear
    /// one goes when the other is ready.
    private mutating func improve(_ now: Timestamp) -> [Action] {
        guard settings.exchangeBelow > 0, exchange == nil, stopReason == nil else { return [] }
        if let last = [lastExchange, lastChange].compactMap(\.self).max(), now - last < settings.exchangeInterval {
            return []
        }
        let working = rentals.filter { $0.value.phase == .idle || ($0.value.phase == .lent && !$0.value.isRetiring) }
        let alive = rentals.values.count { $0.phase != .closing && !$0.isRetiring }
        guard working.count == settings.target, alive == working.count,
            let old = working.max(by: { ($0.value.score, $0.key) < ($1.value.score, $1.key) }),
            let best = takeable(now, atMost: 1).first, best.failures == 0,
            best.score < settings.exchangeBelow * old.value.score
        else { return [] }
        lastExchange = now
        let action = take(best, now)
        exchange = (nextRental - 1, old.key)
        return [action]
    }

    /// The better machine is ready: the other goes, at once or when its work is done.
    private mutating func completeExchange(_ id: RentalID) -> [Action] {
        guard let (successor, old) = exchange, successor == id else { return [] }
        exchange = nil
        let reason = "a cheaper machine takes its place"
        switch rentals[old]?.phase {
        case .idle: return retire(old, reason)
        case .lent:
            rentals[old]?.retirement = reason
            return [.retireWhenFree(old, reason: reason)]
        default: return []
        }
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

    /// Closes what is more than wanted: negotiations that are not needed now, then machines that are being prepared, the
    /// newest first, then idle ones, the dearest first.
    private mutating func trim() -> [Action] {
        var actions: [Action] = []
        let reason = "there are more machines than wanted"
        let kept = exchange?.successor
        func isStarting(_ rental: Rental) -> Bool { if case .starting = rental.phase { true } else { false } }
        func isNegotiating(_ rental: Rental) -> Bool { if case .negotiating = rental.phase { true } else { false } }
        var surplus =
            rentals.count { id, rental in
                id != kept
                    && (isStarting(rental) || rental.phase == .idle || (rental.phase == .lent && !rental.isRetiring))
            } - settings.target
        guard surplus >= 0 else { return [] }
        for id in rentals.keys.sorted() where id != kept {
            if let rental = rentals[id], isNegotiating(rental) { actions += retire(id, reason) }
        }
        for id in rentals.keys.sorted(by: >) where surplus > 0 && id != kept {
            guard let rental = rentals[id], isStarting(rental) else { continue }
            surplus -= 1
            actions += retire(id, reason)
        }
        let idle = rentals.filter { $0.value.phase == .idle }.sorted { $0.value.score > $1.value.score }
        for (id, _) in idle where surplus > 0 && id != kept {
            surplus -= 1
            actions += retire(id, reason)
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
        guard counted(now) < settings.target, !negotiating, takeable(now, atMost: 1).isEmpty else { return false }
        guard let last = lastRefresh ?? firstOffer else { return false }
        // Where all have failed, one more look decides.
        let patience = isExhausted ? 1 : min(6, refreshes + 1)
        return now - last >= settings.refreshInterval * patience
    }

    /// All that offered something were tried and failed: there is no machine, none is coming, and nobody is left to ask.
    private var isExhausted: Bool {
        offers.isEmpty && rentals.values.allSatisfy { $0.phase == .closing }
            && providers.values.contains { $0.failures > 0 }
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
        // Asked once more since, and nobody came. Those that have worked may come back: they are waited for.
        let isOver =
            isExhausted && !providers.values.contains { $0.hasWorked && ($0.leftBecause == nil || $0.leftUntil != nil) }
            && lastChange.map { now - $0 >= settings.exhaustion && lastRefresh ?? $0 > $0 } ?? false
        let hopeless = waiting.filter { isOver || now - $0.hopeSeen >= settings.patience }
        for waiter in hopeless { actions.append(.refuse(waiter.ticket, .noMachine, shortage)) }
        let tickets = Set(hopeless.map(\.ticket))
        waiting.removeAll { tickets.contains($0.ticket) }
        return actions
    }

    /// Why there is no machine, for a person.
    public var shortage: String {
        if providersSeen.isEmpty { return "no provider offered anything" }
        var reasons: [String: Int] = [:]
        for reason in objections.values { reasons[reason, default: 0] += 1 }
        let list = reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(5).map {
            "\($0.value) × \($0.key)"
        }
        let seen = "\(providersSeen.count) provider\(providersSeen.count == 1 ? "" : "s") seen, none usable"
        return list.isEmpty ? seen : seen + ": " + list.joined(separator: "; ")
    }

    /// What is known of the market and of the machines, for a person.
    public func overview(at now: Timestamp) -> MarketOverview {
        var overview = MarketOverview(offers: offersSeen, providers: providersSeen.count, wanted: settings.target)
        for reason in objections.values { overview.refused[reason, default: 0] += 1 }
        for rental in rentals.values {
            switch rental.phase {
            case .negotiating: overview.negotiating += 1
            case .starting(let since):
                overview.starting += 1
                overview.longestStart = max(overview.longestStart, now - since)
            case .idle, .lent: overview.ready += 1
            case .closing: break
            }
        }
        overview.isGathering = rentals.isEmpty && overview.ready == 0 && firstOffer != nil && !offers.isEmpty
        return overview
    }

    public var isStopped: Bool { stopReason != nil }

    /// Machines in working order: idle and lent.
    public var readyCount: Int { rentals.values.count { $0.phase == .idle || $0.phase == .lent } }

    /// Rentals that are not over yet, those being closed included.
    public var openRentals: [RentalID] { rentals.keys.sorted() }

    var hasOpenRentals: Bool { !rentals.isEmpty }

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
