import Aggregation
import Federation
import Fleets

/// The shards of a prediction as a pure value: events go in, actions come out; no clock, no I/O.
///
/// ``Federation/RoundMachine`` decides who works on what: tries, company for the slow. ``Federation/AuditMachine`` decides
/// who is believed. Here the two meet: an answer is kept when it has been looked at, and all that came from a provider
/// that was found lying, however long ago, is thrown away and done by others.
///
/// ```
///            give              delivered              looked at: right
///   waiting ──────▶ given ────────────────▶ delivered ────────────────▶ done
///      ▲              │ failed                  │ wrong                   │ its provider has lied elsewhere
///      └──────────────┴─────────────────────────┴─────────────────────────┘
/// ```
public struct ShardMachine: Sendable {
    public typealias Attempt = RoundMachine.Attempt

    /// What is known of an answer before it is believed.
    package struct Delivery: Sendable, Equatable {
        package var provider: Provider
        /// Of the rows that were drawn of it after it had come.
        package var digest: String
        /// Whether its worker tells of the numeric contract that home keeps.
        package var isComparable: Bool

        package init(provider: Provider, digest: String, isComparable: Bool = true) {
            self.provider = provider
            self.digest = digest
            self.isComparable = isComparable
        }
    }

    /// Why an attempt gave nothing, as far as it matters here.
    package struct Failure: Sendable, Equatable {
        package var provider: Provider?
        package var isRetryable: Bool
        /// The kind of error with which its worker refused the work itself.
        package var refusal: String?

        package init(provider: Provider?, isRetryable: Bool = true, refusal: String? = nil) {
            self.provider = provider
            self.isRetryable = isRetryable
            self.refusal = refusal
        }
    }

    package enum Event: Sendable {
        case begin
        /// A machine has taken the attempt.
        case started(Attempt, Provider)
        case delivered(Attempt, Delivery)
        /// Also how a stopped attempt ends.
        case failed(Attempt, Failure)
        case recomputed(AuditMachine.Key, AuditMachine.Recomputation)
        case tick
    }

    package enum Action: Sendable, Equatable {
        /// Give the shard to the fleet; it ends with `delivered` or `failed`.
        case give(Attempt, avoiding: Set<String>)
        /// End an attempt early.
        case stop(Attempt)
        /// What the attempt brought is the shard's answer.
        case keep(Attempt)
        /// What the attempt brought is not wanted.
        case discard(Attempt)
        /// The answer that was kept is none any more.
        case drop(shard: Int)
        /// Compute the drawn rows of the attempt's answer.
        case recompute(AuditMachine.Key, isAgain: Bool)
        case holdPay(Provider)
        case releasePay(Provider)
        case leave(Provider, reason: String, isPaid: Bool)
        case audited(RunEvent.Audit)
        case failureHandled(Attempt, RoundMachine.Consequence)
        case slow(Attempt, seconds: Double, median: Double)
        /// Send `tick` at this time.
        case wake(at: Double)
        /// Nothing is to be done any more: every shard is done, or these cannot be.
        case end(missing: [Int])
    }

    private enum State: Equatable {
        case waiting
        case delivered(Attempt, Provider)
        case done(Provider)
    }

    private var rounds: RoundMachine
    private var audits: AuditMachine
    private var states: [State]
    private var doneCount: Int
    /// Attempts that were given and have not ended, with who is at it.
    private var underWay: [Attempt: Provider?] = [:]
    /// The most of them: their shards lie on this disk.
    private let mostUnderWay: Int
    /// What is to be given when there is room, first come, first served.
    private var waiting: [(attempt: Attempt, avoiding: Set<String>)?] = []
    private var firstWaiting = 0
    /// Those that were found lying.
    private var liars: Set<String> = []
    private var missing: [Int]?
    private var hasEnded = false

    /// - Parameters:
    ///   - shards: how many there are.
    ///   - done: those that were done before, by whom.
    ///   - looksAtAll: whether every answer is looked at (which rows of it is not decided here), or none.
    ///   - mostUnderWay: attempts that are given and have not ended, at most.
    ///   - seed: of what audits draw.
    package init(
        shards: Int, done: [Int: Provider] = [:], rules: RoundMachine.Rules, looksAtAll: Bool, mostUnderWay: Int,
        seed: UInt64 = 0
    ) {
        var rules = rules
        rules.requiredAnswers = shards
        rules.roundTimeout = nil
        rounds = RoundMachine(clients: Array(0..<shards), answered: Set(done.keys), rules: rules)
        audits = AuditMachine(policy: looksAtAll ? .all : .off, seed: seed, subject: .prediction)
        states = (0..<shards).map { shard in done[shard].map(State.done) ?? .waiting }
        doneCount = done.count
        self.mostUnderWay = max(1, mostUnderWay)
    }

    /// Shards that are done.
    package var done: Int { doneCount }
    package var isOver: Bool { hasEnded }
    package var totals: AuditTotals { audits.totals }

    /// Takes in what happened at time `now`, seconds from any fixed moment, and says what to do, in this order.
    package mutating func handle(_ event: Event, now: Double) -> [Action] {
        guard !hasEnded else {
            if case .delivered(let attempt, _) = event { return [.discard(attempt)] }
            return []
        }
        var actions: [Action] = []
        switch event {
        case .begin: follow(rounds.handle(.begin, now: now), now, &actions)
        case .tick: follow(rounds.handle(.tick, now: now), now, &actions)
        case .started(let attempt, let provider):
            guard underWay[attempt] != nil else { break }
            underWay[attempt] = provider
            follow(rounds.handle(.started(attempt, provider: provider.id), now: now), now, &actions)
        case .delivered(let attempt, let delivery): delivered(attempt, delivery, now, &actions)
        case .failed(let attempt, let failure): failed(attempt, failure, now, &actions)
        case .recomputed(let key, let result): obey(audits.handle(.recomputed(key, result)), now, &actions)
        }
        actions += gifts()
        endIfDone(&actions)
        return actions
    }

    // MARK: Who works on what

    private mutating func follow(_ decisions: [RoundMachine.Action], _ now: Double, _ actions: inout [Action]) {
        for decision in decisions {
            switch decision {
            case .launch(let attempt, let avoiding): waiting.append((attempt, avoiding.union(liars)))
            case .cancel(let attempt):
                if underWay[attempt] != nil {
                    actions.append(.stop(attempt))
                } else if let place = waiting[firstWaiting...].firstIndex(where: { $0?.attempt == attempt }) {
                    waiting[place] = nil
                }
            case .accept: break
            case .discard(let attempt): actions.append(.discard(attempt))
            case .failureHandled(let attempt, let consequence):
                actions.append(.failureHandled(attempt, consequence))
            case .slow(let attempt, let seconds, let median):
                actions.append(.slow(attempt, seconds: seconds, median: median))
            case .wake(let time): actions.append(.wake(at: time))
            case .close(.failed(_, let leftOut)): missing = leftOut
            // Closed is not over: what was delivered may still turn out wrong.
            case .close(.finished): break
            }
        }
    }

    /// Lets go of what waits, as much as may be under way.
    private mutating func gifts() -> [Action] {
        var actions: [Action] = []
        while underWay.count < mostUnderWay, firstWaiting < waiting.count {
            if let (attempt, avoiding) = waiting[firstWaiting] {
                underWay[attempt] = .some(nil)
                actions.append(.give(attempt, avoiding: avoiding.union(liars)))
            }
            waiting[firstWaiting] = nil
            firstWaiting += 1
        }
        return actions
    }

    private mutating func failed(_ attempt: Attempt, _ failure: Failure, _ now: Double, _ actions: inout [Action]) {
        let known = underWay.removeValue(forKey: attempt) ?? nil
        var isRetryable = failure.isRetryable
        if isRetryable, let refusal = failure.refusal, let provider = failure.provider ?? known {
            let decisions = audits.handle(.refused(Self.key(attempt), provider, code: refusal))
            // One that a second machine confirms, every machine would give.
            if decisions.contains(.passRefusal(Self.key(attempt), isBelieved: true)) { isRetryable = false }
            obey(decisions, now, &actions)
        }
        follow(rounds.handle(.failed(attempt, isRetryable: isRetryable), now: now), now, &actions)
    }

    // MARK: Who is believed

    private mutating func delivered(
        _ attempt: Attempt, _ delivery: Delivery, _ now: Double, _ actions: inout [Action]
    ) {
        underWay[attempt] = nil
        if liars.contains(delivery.provider.id) {
            // Sent before it was found out.
            actions.append(.discard(attempt))
            return follow(rounds.handle(.failed(attempt, isRetryable: true), now: now), now, &actions)
        }
        let decisions = rounds.handle(.succeeded(attempt), now: now)
        if decisions.contains(.accept(attempt)) {
            states[attempt.client] = .delivered(attempt, delivery.provider)
            follow(decisions, now, &actions)
            let work = AuditMachine.Work(
                key: Self.key(attempt), provider: delivery.provider,
                fingerprint: DeltaFingerprint(digest: delivery.digest),
                weightsNorm: 0, isComparable: delivery.isComparable)
            obey(audits.handle(.arrived(work)), now, &actions)
        } else {
            follow(decisions, now, &actions)
        }
    }

    private mutating func obey(_ decisions: [AuditMachine.Action], _ now: Double, _ actions: inout [Action]) {
        for decision in decisions {
            switch decision {
            case .recompute(let key, let isAgain): actions.append(.recompute(key, isAgain: isAgain))
            case .pass(let key): passed(key, now, &actions)
            case .reject(let key, _): rejected(key, now, &actions)
            case .passRefusal: break
            case .holdPay(let provider): actions.append(.holdPay(provider))
            case .releasePay(let provider): actions.append(.releasePay(provider))
            case .leave(let provider, let reason, let isPaid):
                actions.append(.leave(provider, reason: reason, isPaid: isPaid))
                // One that is paid for what it did has refused, not lied.
                if !isPaid { condemn(provider, now, &actions) }
            case .journal(let audit): actions.append(.audited(audit))
            }
        }
    }

    private mutating func passed(_ key: AuditMachine.Key, _ now: Double, _ actions: inout [Action]) {
        guard case .delivered(let attempt, let provider) = states[key.client], Self.key(attempt) == key else { return }
        // Rows that were drawn may be right in an answer that is not: from a liar nothing is taken.
        guard !liars.contains(provider.id) else { return rejected(key, now, &actions) }
        states[key.client] = .done(provider)
        doneCount += 1
        actions.append(.keep(attempt))
    }

    private mutating func rejected(_ key: AuditMachine.Key, _ now: Double, _ actions: inout [Action]) {
        guard case .delivered(let attempt, let provider) = states[key.client], Self.key(attempt) == key else { return }
        states[key.client] = .waiting
        actions.append(.discard(attempt))
        follow(rounds.handle(.revoked(client: key.client, provider: provider.id), now: now), now, &actions)
    }

    private mutating func condemn(_ provider: Provider, _ now: Double, _ actions: inout [Action]) {
        guard liars.insert(provider.id).inserted else { return }
        for (shard, state) in states.enumerated() {
            guard case .done(let other) = state, other.id == provider.id else { continue }
            states[shard] = .waiting
            doneCount -= 1
            actions.append(.drop(shard: shard))
            follow(rounds.handle(.revoked(client: shard, provider: provider.id), now: now), now, &actions)
        }
    }

    private mutating func endIfDone(_ actions: inout [Action]) {
        guard missing != nil || doneCount == states.count && audits.isSettled(through: 0) else { return }
        hasEnded = true
        for attempt in underWay.keys.sorted() { actions.append(.stop(attempt)) }
        actions.append(.end(missing: missing ?? []))
    }

    private static func key(_ attempt: Attempt) -> AuditMachine.Key {
        AuditMachine.Key(round: 0, client: attempt.client, attempt: attempt.number)
    }
}
