import Aggregation
import Fleets
import NeuralNetwork
import Tensors

/// Which answers are recomputed at home, and what follows from it, as a pure value: events go in, actions come out; no
/// clock, no I/O.
///
/// The same job gives the same bytes on every machine. So an answer is checked by doing its work again, whole, and
/// comparing. Which answers those are is drawn after they have come, with numbers that nobody outside knows; besides,
/// everything that looks strange is checked (``UsualDeltas``). One answer is recomputed at a time.
///
/// ```
///                     strange, or drawn by share
///   arrived ──┬──────────────────────────────────▶ held ──▶ at home ──same──▶ passed on, paid
///             │                                               │
///             └─▶ passed on ──drawn while home is free──▶ at home ──same──▶ paid
///                                                             │ different, and again
///                                                             ▼
///                              its provider is left and not paid; held: the work is given to another,
///                              passed on: the rounds from there are done again
/// ```
///
/// A refusal is believed when a second machine, or home, says the same; when another can do the work, it was false.
public struct AuditMachine: Sendable {
    /// One attempt of a client's training.
    public struct Key: Hashable, Sendable, Comparable {
        public var round: Int
        public var client: Int
        public var attempt: Int

        public init(round: Int, client: Int, attempt: Int) {
            self.round = round
            self.client = client
            self.attempt = attempt
        }

        public static func < (first: Key, second: Key) -> Bool {
            (first.round, first.client, first.attempt) < (second.round, second.client, second.attempt)
        }

        /// For people.
        fileprivate var place: String { RunEvent.place(round: round, client: client) }

        /// What was to be trained, whoever did it.
        fileprivate var question: Question { Question(round: round, client: client) }
    }

    /// An answer, as far as it matters here.
    package struct Work: Sendable, Equatable {
        package var key: Key
        package var provider: Provider
        package var fingerprint: DeltaFingerprint
        /// Euclidean norm of the weights that the training started from.
        package var weightsNorm: Double
        /// Whether its worker tells of the numeric contract that home keeps; else the same bytes cannot be expected.
        package var isComparable: Bool

        package init(
            key: Key, provider: Provider, fingerprint: DeltaFingerprint, weightsNorm: Double, isComparable: Bool = true
        ) {
            self.isComparable = isComparable
            self.key = key
            self.provider = provider
            self.fingerprint = fingerprint
            self.weightsNorm = weightsNorm
        }
    }

    package enum Event: Sendable {
        case roundBegan(Int)
        case arrived(Work)
        /// A worker said that it cannot do the work, with the kind of error.
        case refused(Key, Provider, code: String)
        /// An answer or refusal that is waited for is not wanted any more.
        case calledOff(Key)
        /// All answers of the round are there.
        case roundEnded(Int)
        case recomputed(Key, Recomputation)
        /// The run has gone back to the end of this round.
        case wentBack(to: Int)
        /// No round follows: what must be looked at is.
        case runEnding
    }

    /// What doing the work at home came to.
    package enum Recomputation: Sendable, Equatable {
        case delta(digest: String)
        /// Home cannot do it either, for a reason that is the work's.
        case refusal(code: String)
        /// Home cannot tell.
        case undone(String)
    }

    package enum Action: Sendable, Equatable {
        /// Do the work at home. The second time in another way, as far as there is one.
        case recompute(Key, isAgain: Bool)
        /// The answer goes into the average.
        case pass(Key)
        /// The answer counts as a failure.
        case reject(Key, reason: String)
        /// The refusal counts; asking others is a waste where it is believed.
        case passRefusal(Key, isBelieved: Bool)
        /// What the provider did is being looked at: bills for it wait.
        case holdPay(Provider)
        /// It is not any more.
        case releasePay(Provider)
        /// It is left. Not paid either, but for what it did rightly before where `isPaid`.
        case leave(Provider, reason: String, isPaid: Bool)
        case journal(RunEvent.Audit)
    }

    /// What kind of work is looked at.
    package enum Subject: Sendable {
        /// Deltas, which are also compared with each other.
        case training
        /// Predictions: of a shard such rows as were drawn, by one digest. There are no rounds; it is round 0.
        case prediction
    }

    fileprivate struct Question: Hashable {
        var round: Int
        var client: Int
    }

    private struct Entry {
        enum Subject {
            case work(Work)
            case refusal(code: String)
        }

        enum State { case passed, waiting, atHome }

        var subject: Subject
        var provider: Provider
        var state: State
        /// Not yet in the average.
        var isHeld = false
        /// Why it is looked at; empty where it was not.
        var reason = ""
        /// What home computed the first time, where it was something else.
        var first: Recomputation?

        var work: Work? { if case .work(let work) = subject { work } else { nil } }
    }

    private struct Refusal {
        var key: Key
        var provider: Provider
        var code: String
    }

    package let policy: AuditPolicy
    private let subject: Subject
    private var random: SeededGenerator
    private var usual = UsualDeltas()
    private var entries: [Key: Entry] = [:]
    /// What must be looked at, in this order.
    private var queue: [Key] = []
    private var current: Key?
    /// Passed on and not looked at, of the present round and of the one before.
    private var candidates: [Key] = []
    private var isTraining = false
    private var condemned: Set<String> = []
    private var refusals: [Question: [Refusal]] = [:]
    private var believed: [Question: Set<String>] = [:]
    private var auditedRounds: Set<Int> = []
    /// What home has computed, by question: nothing is computed twice for company that came later.
    private var truths: [Question: String] = [:]
    /// Answers of workers that compute by other rules than home, until one comes that does not: all have the same image.
    private var incomparable: [Key] = []
    private var hasComparable = false
    /// Home gave two different answers to one question: it cannot be a judge.
    private var isHomeBroken = false
    package private(set) var totals: AuditTotals
    /// Where providers stand in the totals: there may be thousands.
    private var places: [String: Int] = [:]
    /// The first round whose average has wrong values in it.
    package private(set) var firstWrongRound: Int?

    /// How many rounds back the other work of a provider is looked at once it was found wrong.
    static let lookBack = 16

    /// - Parameters:
    ///   - seed: of what is drawn. Nobody outside may know it.
    ///   - totals: of the run before it was resumed.
    package init(policy: AuditPolicy, seed: UInt64, totals: AuditTotals? = nil, subject: Subject = .training) {
        self.policy = policy
        self.subject = subject
        random = SeededGenerator(seed: seed, purpose: "audits")
        self.totals = totals ?? AuditTotals(policy: policy)
        self.totals.policy = policy
    }

    package mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .roundBegan(let round):
            usual.roundBegan(round)
            isTraining = true
            candidates.removeAll { $0.round < round - 1 }
            entries = entries.filter { $0.key.round >= round - Self.lookBack || $0.value.state != .passed }
            refusals = refusals.filter { $0.key.round >= round }
            believed = believed.filter { $0.key.round >= round }
            truths = truths.filter { $0.key.round >= round }
            return goOn()
        case .arrived(let work): return arrived(work) + goOn()
        case .refused(let key, let provider, let code): return refused(key, provider, code) + goOn()
        case .calledOff(let key): return calledOff(key) + goOn()
        case .roundEnded(let round):
            isTraining = false
            guard policy != .off else { return [] }
            return usual.strangers(in: round).flatMap { require($0.key, $0.reason) } + goOn()
        case .recomputed(let key, let result): return recomputed(key, result) + goOn()
        case .wentBack(let round): return wentBack(to: round)
        case .runEnding:
            isTraining = false
            guard policy != .off, totals.audited == 0, queue.isEmpty else { return [] }
            // At least one a run, if it is the one that was drawn while home was free.
            if let current { return require(current, Self.drawn) }
            return candidates.isEmpty ? [] : require(draw(), Self.drawn) + goOn()
        }
    }

    /// Whether nothing of the rounds up to this one must still be looked at.
    package func isSettled(through round: Int) -> Bool {
        !queue.contains { $0.round <= round } && !(current.map { $0.round <= round && isRequired($0) } ?? false)
    }

    /// Whether what is at home was not merely drawn because home was free.
    private func isRequired(_ key: Key) -> Bool {
        guard let entry = entries[key] else { return false }
        return entry.isHeld || entry.reason != Self.drawnWhileFree || entry.first != nil
    }

    private static let drawn = "drawn by chance"
    private static let drawnWhileFree = "drawn by chance, as home was free"

    // MARK: Answers

    private mutating func arrived(_ work: Work) -> [Action] {
        totals.answers += 1
        tally(work.provider) { $0.answers += 1 }
        guard policy != .off else {
            return [.pass(work.key)] + disproved(by: work)
        }
        var reason = subject == .training ? usual.alarm(work) : nil
        var actions: [Action] = []
        if work.isComparable, !hasComparable {
            hasComparable = true
            for key in incomparable { actions += require(key, Self.otherRules) }
            incomparable = []
        } else if !work.isComparable {
            guard hasComparable else { return unlike(work) }
            reason = reason ?? Self.otherRules
        }
        if truths[work.key.question] == work.fingerprint.digest, reason != nil || policy != .auto {
            if subject == .training { usual.add(work) }
            entries[work.key] = Entry(
                subject: .work(work), provider: work.provider, state: .passed, reason: "home has computed it")
            count(work.key, work.provider)
            return actions + [.pass(work.key)] + disproved(by: work)
        }
        if subject == .training, let twin = usual.twin(of: work) {
            // Whose bytes they are is not known: the earlier ones may be the copy.
            actions += require(twin, "round \(work.key.round), shard \(work.key.client) has the same bytes")
        }
        if condemned.contains(work.provider.id) { reason = "its provider has sent wrong values before" }
        switch policy {
        case .all: reason = reason ?? (subject == .training ? "all are looked at" : "rows are drawn of every answer")
        case .share(let share) where random.uniform() < share: reason = reason ?? Self.drawn
        case .auto, .off, .share: break
        }
        if subject == .training { usual.add(work) }
        var entry = Entry(subject: .work(work), provider: work.provider, state: .passed)
        guard let reason, !isHomeBroken else {
            entries[work.key] = entry
            candidates.append(work.key)
            return actions + [.pass(work.key)] + disproved(by: work)
        }
        entry.isHeld = true
        entry.reason = reason
        entry.state = .waiting
        entries[work.key] = entry
        // What is held holds up the round: it goes before what is in the average already.
        queue.insert(work.key, at: queue.firstIndex { entries[$0]?.isHeld != true } ?? queue.count)
        return actions + [.holdPay(work.provider)]
    }

    private static let otherRules = "its worker tells of other numeric rules than those of others with the same image"

    /// An answer of a worker whose bytes cannot be those of home, where nobody has shown that the image has another.
    private mutating func unlike(_ work: Work) -> [Action] {
        var actions: [Action] = [.pass(work.key)]
        let entry = Entry(subject: .work(work), provider: work.provider, state: .passed)
        if incomparable.isEmpty {
            actions.append(
                journal(
                    work.key, entry, .undecided,
                    "the workers' kernels are of another version than this program's: nothing can be compared; make the"
                        + " image anew, or use the deml that it belongs to"))
        }
        entries[work.key] = entry
        incomparable.append(work.key)
        return actions + disproved(by: work)
    }

    /// An answer that was passed on must be looked at.
    private mutating func require(_ key: Key, _ reason: String) -> [Action] {
        guard var entry = entries[key], !isHomeBroken else { return [] }
        if entry.state == .atHome, entry.reason == Self.drawnWhileFree { entries[key]?.reason = reason }
        guard entry.state == .passed, candidates.contains(key) || entry.reason.isEmpty else { return [] }
        candidates.removeAll { $0 == key }
        entry.state = .waiting
        entry.reason = reason
        entries[key] = entry
        queue.append(key)
        return [.holdPay(entry.provider)]
    }

    /// What home does next, if it is free.
    private mutating func goOn() -> [Action] {
        guard current == nil, !isHomeBroken else { return [] }
        if !queue.isEmpty {
            let key = queue.removeFirst()
            entries[key]?.state = .atHome
            current = key
            return [.recompute(key, isAgain: false)]
        }
        guard policy == .auto, isTraining, !candidates.isEmpty else { return [] }
        let key = draw()
        candidates.removeAll { $0 == key }
        entries[key]?.state = .atHome
        entries[key]?.reason = Self.drawnWhileFree
        current = key
        return [entries[key].map { .holdPay($0.provider) }, .recompute(key, isAgain: false)].compactMap(\.self)
    }

    private mutating func draw() -> Key {
        candidates[Int(random.next() % UInt64(candidates.count))]
    }

    // MARK: What home says

    private mutating func recomputed(_ key: Key, _ result: Recomputation) -> [Action] {
        guard current == key else { return [] }
        guard var entry = entries[key] else {
            // It was called off, or the run has gone back beyond it.
            current = nil
            return []
        }
        if case .refusal(let code) = entry.subject { return settled(refusal: key, code, entry, result) }
        guard let work = entry.work else { return [] }
        if case .undone(let why) = result {
            current = nil
            return release(key, entry, .undecided, why)
        }
        if result == .delta(digest: work.fingerprint.digest) {
            current = nil
            truths[key.question] = work.fingerprint.digest
            count(key, entry.provider)
            return release(key, entry, .right, entry.reason)
        }
        guard let first = entry.first else {
            entry.first = result
            entries[key] = entry
            return [.recompute(key, isAgain: true)]
        }
        current = nil
        guard first == result else { return homeIsBroken(key, entry) }
        if case .delta(let digest) = result { truths[key.question] = digest }
        count(key, entry.provider)
        return wrong(key, entry)
    }

    private mutating func tally(_ provider: Provider, _ change: (inout AuditTotals.ProviderAudits) -> Void) {
        let place = places[provider.id] ?? totals.place(of: provider)
        places[provider.id] = place
        change(&totals.providers[place])
    }

    private mutating func count(_ key: Key, _ provider: Provider) {
        totals.audited += 1
        tally(provider) { $0.audited += 1 }
        if auditedRounds.insert(key.round).inserted { totals.rounds += 1 }
    }

    /// The answer stands.
    private mutating func release(
        _ key: Key, _ entry: Entry, _ verdict: RunEvent.Audit.Verdict, _ reason: String
    ) -> [Action] {
        entries[key]?.state = .passed
        entries[key]?.isHeld = false
        entries[key]?.reason = reason.isEmpty ? "looked at" : reason
        var actions: [Action] = [.releasePay(entry.provider), journal(key, entry, verdict, reason)]
        if entry.isHeld { actions.append(.pass(key)) }
        if let work = entry.work { actions += disproved(by: work) }
        return actions
    }

    private mutating func wrong(_ key: Key, _ entry: Entry) -> [Action] {
        totals.mismatches += 1
        tally(entry.provider) { $0.mismatches += 1 }
        entries[key] = nil
        usual.forget(key)
        condemned.insert(entry.provider.id)
        let reason =
            switch subject {
            case .training:
                "its delta for \(key.place) is not what the training gives, computed twice at home (looked at because: "
                    + "\(entry.reason))"
            case .prediction: "rows of \(key.place) are not what the model gives, computed twice at home"
            }
        var actions: [Action] = [
            journal(key, entry, .wrong, entry.reason),
            .leave(entry.provider, reason: reason, isPaid: false), .releasePay(entry.provider),
        ]
        if entry.isHeld {
            actions.append(.reject(key, reason: reason))
        } else {
            firstWrongRound = min(firstWrongRound ?? key.round, key.round)
        }
        // Whatever else it did in rounds that stand is looked at too, the oldest first.
        let others = entries.filter {
            $0.value.provider.id == entry.provider.id && $0.value.work != nil && $0.value.state == .passed
                && $0.key.round < (firstWrongRound ?? .max)
        }.keys.sorted()
        for other in others where entries[other]?.reason.isEmpty == true {
            actions += require(other, "its provider has sent wrong values")
        }
        return actions
    }

    private mutating func homeIsBroken(_ key: Key, _ entry: Entry) -> [Action] {
        isHomeBroken = true
        let why = "this machine gave two different answers to one question: nothing more is looked at"
        var actions = release(key, entry, .undecided, why)
        for other in queue {
            guard let entry = entries[other] else { continue }
            if case .refusal = entry.subject {
                entries[other] = nil
                actions += [.releasePay(entry.provider)]
            } else {
                actions += release(other, entry, .undecided, why)
            }
        }
        queue = []
        return actions
    }

    private func journal(
        _ key: Key, _ entry: Entry, _ verdict: RunEvent.Audit.Verdict, _ reason: String
    ) -> Action {
        .journal(
            RunEvent.Audit(
                round: key.round, client: key.client, attempt: key.attempt, provider: entry.provider, verdict: verdict,
                reason: reason))
    }

    // MARK: Refusals

    private mutating func refused(_ key: Key, _ provider: Provider, _ code: String) -> [Action] {
        let before = refusals[key.question] ?? []
        if believed[key.question]?.contains(code) == true
            || before.contains(where: { $0.code == code && $0.provider.id != provider.id })
        {
            believed[key.question, default: []].insert(code)
            refusals[key.question]?.removeAll { $0.code == code }
            return [.passRefusal(key, isBelieved: true)]
        }
        refusals[key.question, default: []].append(Refusal(key: key, provider: provider, code: code))
        guard policy != .off, !isHomeBroken else { return [.passRefusal(key, isBelieved: false)] }
        var entry = Entry(subject: .refusal(code: code), provider: provider, state: .waiting)
        entry.reason = "it refuses the work"
        entries[key] = entry
        queue.append(key)
        return [.holdPay(provider), .passRefusal(key, isBelieved: false)]
    }

    private mutating func settled(
        refusal key: Key, _ code: String, _ entry: Entry, _ result: Recomputation
    ) -> [Action] {
        current = nil
        entries[key] = nil
        let isOpen = refusals[key.question]?.contains { $0.key == key } == true
        refusals[key.question]?.removeAll { $0.key == key }
        switch result {
        case .refusal(code: code):
            believed[key.question, default: []].insert(code)
            return [.releasePay(entry.provider), journal(key, entry, .right, "home refuses it too")]
        case .delta where isOpen:
            return falseRefusal(key, entry.provider, "home can do it") + [.releasePay(entry.provider)]
        case .delta, .refusal, .undone:
            return [.releasePay(entry.provider)]
        }
    }

    /// Work that was done shows that those who refused it could have done it.
    private mutating func disproved(by work: Work) -> [Action] {
        guard let open = refusals.removeValue(forKey: work.key.question) else { return [] }
        var actions: [Action] = []
        for refusal in open {
            guard refusal.provider.id != work.provider.id else { continue }
            actions += falseRefusal(refusal.key, refusal.provider, "\(work.provider.name) has done it")
            if queue.contains(refusal.key) {
                queue.removeAll { $0 == refusal.key }
                entries[refusal.key] = nil
                actions.append(.releasePay(refusal.provider))
            }
        }
        return actions
    }

    private mutating func falseRefusal(_ key: Key, _ provider: Provider, _ how: String) -> [Action] {
        totals.falseRefusals += 1
        tally(provider) { $0.falseRefusals += 1 }
        let reason = "it refused \(key.place), and \(how)"
        let answers = totals.providers.first { $0.provider.id == provider.id }?.answers ?? 0
        return [
            .journal(
                RunEvent.Audit(
                    round: key.round, client: key.client, attempt: key.attempt, provider: provider, verdict: .wrong,
                    reason: reason)),
            .leave(provider, reason: reason, isPaid: answers > 0),
        ]
    }

    // MARK: Going back

    private mutating func calledOff(_ key: Key) -> [Action] {
        guard let entry = entries[key], entry.isHeld else { return [] }
        entries[key] = nil
        queue.removeAll { $0 == key }
        return [.releasePay(entry.provider)]
    }

    private mutating func wentBack(to round: Int) -> [Action] {
        if let wrong = firstWrongRound { totals.roundsRedone += max(0, (lastRound ?? wrong) - wrong + 1) }
        firstWrongRound = nil
        usual.wentBack(to: round)
        candidates.removeAll { $0.round > round }
        incomparable.removeAll { $0.round > round }
        var actions: [Action] = []
        for (key, entry) in entries where key.round > round {
            if entry.state != .passed { actions.append(.releasePay(entry.provider)) }
            entries[key] = nil
        }
        queue.removeAll { $0.round > round }
        return actions
    }

    private var lastRound: Int? { entries.keys.map(\.round).max() }
}
