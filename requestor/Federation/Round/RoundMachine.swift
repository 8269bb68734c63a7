/// One round as a pure value: events go in, actions come out; no clock, no I/O.
///
/// Every client of the round is given to one worker. When that fails the training is given to another, up to `retries`
/// times. When it takes much longer than the others did for as much work, it is also given to another, and the first good
/// answer counts.
/// The round closes when every client has an answer or has run out of tries; with a round timeout, as soon after it as
/// there are enough answers. It fails when enough answers are out of reach.
///
/// ```
///            launch            started             succeeded
///   waiting ────────▶ queued ──────────▶ running ────────────▶ answered
///      ▲                  │                 │ failed / slow
///      └──────────────────┴─────────────────┘ tries left, else ▶ leftOut
/// ```
public struct RoundMachine: Sendable {
    public struct Rules: Sendable, Equatable {
        /// Good answers without which the round fails.
        public var requiredAnswers: Int
        /// Launches of a client after a failure, beyond the first.
        public var retries: Int
        /// An attempt older than this many times what the median of the finished ones makes likely, for its work and for
        /// any, gets company; 0: never.
        public var stragglerFactor: Double
        /// No attempt younger than so many seconds counts as slow, whatever the others took.
        public var stragglerMinimumSeconds: Double
        /// Seconds after which the round no longer waits for everybody.
        public var roundTimeout: Double?

        public init(
            requiredAnswers: Int, retries: Int, stragglerFactor: Double = 0, stragglerMinimumSeconds: Double = 5,
            roundTimeout: Double? = nil
        ) {
            self.requiredAnswers = requiredAnswers
            self.retries = retries
            self.stragglerFactor = stragglerFactor
            self.stragglerMinimumSeconds = stragglerMinimumSeconds
            self.roundTimeout = roundTimeout
        }
    }

    /// One try of one client.
    public struct Attempt: Hashable, Sendable, Comparable {
        public var client: Int
        /// From 1.
        public var number: Int

        public init(client: Int, number: Int) {
            self.client = client
            self.number = number
        }

        public static func < (first: Attempt, second: Attempt) -> Bool {
            (first.client, first.number) < (second.client, second.number)
        }
    }

    /// What happened. `now` is seconds from any fixed moment and never goes back.
    public enum Event: Sendable, Equatable {
        case begin
        /// A machine has taken the attempt.
        case started(Attempt, provider: String)
        /// The attempt gave a good answer.
        case succeeded(Attempt)
        /// The attempt gave nothing. Also how a cancelled attempt ends.
        case failed(Attempt, isRetryable: Bool)
        /// An answer that counted does not any more, as its provider is not believed: the client is given to another. A
        /// round that has closed well is open again.
        case revoked(client: Int, provider: String)
        /// The moment asked for by ``Action/wake(at:)`` has come (or any other: the machine looks at the clock itself).
        case tick
    }

    /// What to do.
    public enum Action: Sendable, Equatable {
        /// Give the client's training to a worker, if possible to none of `avoiding`.
        case launch(Attempt, avoiding: Set<String>)
        /// Stop an attempt: its answer is no longer wanted. It ends with an event all the same, which changes nothing.
        case cancel(Attempt)
        /// This answer is part of the average.
        case accept(Attempt)
        /// This answer came too late and is not.
        case discard(Attempt)
        /// What follows from a failure.
        case failureHandled(Attempt, Consequence)
        /// This attempt is slow; the launch of another follows.
        case slow(Attempt, seconds: Double, median: Double)
        /// Send ``Event/tick`` at this time. A later wake replaces an earlier one.
        case wake(at: Double)
        /// The round is over. Nothing follows but the ends of cancelled attempts.
        case close(Outcome)
    }

    /// What becomes of a client whose attempt failed.
    public enum Consequence: Sendable, Equatable {
        case retry, elsewhere, leftOut
    }

    public enum Outcome: Sendable, Equatable {
        /// Clients whose answers count, in order, and those without one.
        case finished(answered: [Int], leftOut: [Int])
        /// Fewer answers than required can still come.
        case failed(answered: [Int], leftOut: [Int])
    }

    private enum AttemptState: Equatable {
        case queued
        case running(provider: String, since: Double)
    }

    private enum ClientState: Equatable {
        case open
        case answered
        case leftOut
    }

    private struct Client {
        var state = ClientState.open
        var launches = 0
        var failures = 0
        /// Attempts that are under way and wanted.
        var attempts: [Attempt: AttemptState] = [:]
        /// Providers that failed on it or are slow with it.
        var avoiding: Set<String> = []
        /// Set once it was given to a second worker for slowness: once is enough.
        var hasCompany = false
    }

    public let clients: [Int]
    public let rules: Rules
    private var state: [Int: Client] = [:]
    private var openCount: Int
    private var answeredCount = 0
    /// How much a client's job is, in any unit; 1 where nothing is said.
    private let work: [Int: Double]
    /// Of the attempts that answered.
    private var durations = Ascending()
    /// The same for a unit of work.
    private var paces = Ascending()
    /// Attempts in the order in which they began to run, so that the slow ones stand in front; those that have ended are
    /// taken out when they come to stand there. A round may have ten thousand clients: no event looks at all of them.
    private var running: [(attempt: Attempt, since: Double)] = []
    private var firstRunning = 0
    private var begin: Double?
    private var isClosed = false
    private var lastWake: Double?

    /// - Parameters:
    ///   - clients: numbers of the clients of this round, each once.
    ///   - work: how much each one's job is, greater than 0, in any unit; who is not named has 1.
    ///   - answered: those of them whose answers are there already.
    public init(clients: [Int], work: [Int: Double] = [:], answered: Set<Int> = [], rules: Rules) {
        self.clients = clients.sorted()
        self.work = work
        self.rules = rules
        openCount = 0
        for client in clients {
            state[client] = Client()
            guard answered.contains(client) else { continue }
            state[client]?.state = .answered
            answeredCount += 1
        }
        openCount = clients.count - answeredCount
        precondition(state.count == clients.count, "a client takes part in a round once")
    }

    public var isFinished: Bool { isClosed }

    /// Takes in what happened at time `now` and says what to do, in this order.
    public mutating func handle(_ event: Event, now: Double) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .begin:
            guard begin == nil else { return [] }
            begin = now
            for client in clients where state[client]?.state == .open { launch(client, &actions) }
        case .started(let attempt, let provider):
            guard !isClosed, state[attempt.client]?.attempts[attempt] != nil else { break }
            state[attempt.client]?.attempts[attempt] = .running(provider: provider, since: now)
            if rules.stragglerFactor > 0 { running.append((attempt, now)) }
        case .succeeded(let attempt):
            succeed(attempt, now, &actions)
        case .failed(let attempt, let isRetryable):
            fail(attempt, isRetryable, &actions)
        case .revoked(let client, let provider):
            revoke(client, provider, &actions)
        case .tick:
            lastWake = nil
        }
        if begin != nil, !isClosed {
            closeIfDone(now, &actions)
            if !isClosed {
                findStragglers(now, &actions)
                scheduleWake(now, &actions)
            }
        }
        return actions
    }

    private mutating func launch(_ client: Int, _ actions: inout [Action]) {
        guard var entry = state[client] else { return }
        entry.launches += 1
        let attempt = Attempt(client: client, number: entry.launches)
        entry.attempts[attempt] = .queued
        actions.append(.launch(attempt, avoiding: entry.avoiding))
        state[client] = entry
    }

    private mutating func succeed(_ attempt: Attempt, _ now: Double, _ actions: inout [Action]) {
        guard !isClosed, var entry = state[attempt.client], let progress = entry.attempts.removeValue(forKey: attempt)
        else {
            actions.append(.discard(attempt))
            return
        }
        if case .running(_, let since) = progress { remember(attempt.client, duration: max(0, now - since)) }
        entry.state = .answered
        openCount -= 1
        answeredCount += 1
        actions.append(.accept(attempt))
        for other in entry.attempts.keys.sorted() { actions.append(.cancel(other)) }
        entry.attempts = [:]
        state[attempt.client] = entry
    }

    private mutating func fail(_ attempt: Attempt, _ isRetryable: Bool, _ actions: inout [Action]) {
        guard !isClosed, var entry = state[attempt.client], let progress = entry.attempts.removeValue(forKey: attempt)
        else { return }
        entry.failures += 1
        if case .running(let provider, _) = progress { entry.avoiding.insert(provider) }
        state[attempt.client] = entry
        if !entry.attempts.isEmpty, isRetryable {
            actions.append(.failureHandled(attempt, .elsewhere))
        } else if isRetryable, entry.failures <= rules.retries {
            actions.append(.failureHandled(attempt, .retry))
            launch(attempt.client, &actions)
        } else {
            actions.append(.failureHandled(attempt, .leftOut))
            entry.state = .leftOut
            openCount -= 1
            for other in entry.attempts.keys.sorted() { actions.append(.cancel(other)) }
            entry.attempts = [:]
            state[attempt.client] = entry
        }
    }

    private mutating func revoke(_ client: Int, _ provider: String, _ actions: inout [Action]) {
        // A round that has failed stays so.
        guard begin != nil, !isClosed || answeredCount >= rules.requiredAnswers, var entry = state[client],
            entry.state == .answered
        else { return }
        isClosed = false
        entry.state = .open
        entry.hasCompany = false
        entry.avoiding.insert(provider)
        state[client] = entry
        openCount += 1
        answeredCount -= 1
        launch(client, &actions)
    }

    private mutating func closeIfDone(_ now: Double, _ actions: inout [Action]) {
        let isLate = rules.roundTimeout.map { now >= (begin ?? now) + $0 } ?? false
        let isEnough = answeredCount >= rules.requiredAnswers
        guard openCount == 0 || (isLate && isEnough) || answeredCount + openCount < rules.requiredAnswers
        else { return }
        isClosed = true
        for client in clients where state[client]?.state == .open {
            for attempt in state[client]?.attempts.keys.sorted() ?? [] { actions.append(.cancel(attempt)) }
            state[client]?.attempts = [:]
        }
        let answered = clients.filter { state[$0]?.state == .answered }
        let leftOut = clients.filter { state[$0]?.state != .answered }
        actions.append(
            .close(
                isEnough
                    ? .finished(answered: answered, leftOut: leftOut) : .failed(answered: answered, leftOut: leftOut)))
    }

    private func work(of client: Int) -> Double { max(.leastNormalMagnitude, work[client] ?? 1) }

    private mutating func remember(_ client: Int, duration: Double) {
        durations.insert(duration)
        paces.insert(duration / work(of: client))
    }

    /// What is likely for any client, by the median; known once half of them have answered.
    private var likelyForAny: Double? {
        guard rules.stragglerFactor > 0, durations.count * 2 >= clients.count else { return nil }
        return durations.median
    }

    /// What is likely for this client: more than for any where it has more work, never less, as a job is not work alone.
    private func likely(_ client: Int, any: Double) -> Double {
        max(any, (paces.median ?? 0) * work(of: client))
    }

    /// The age from which an attempt is slow.
    private func limit(_ likely: Double) -> Double {
        max(rules.stragglerMinimumSeconds, rules.stragglerFactor * likely)
    }

    /// The provider of an attempt that would get company if it were slow; `nil` when it has ended, or has company.
    private func lonelyProvider(of attempt: Attempt) -> String? {
        guard let entry = state[attempt.client], entry.state == .open, !entry.hasCompany, entry.attempts.count == 1,
            case .running(let provider, _)? = entry.attempts[attempt]
        else { return nil }
        return provider
    }

    /// Leaves behind what stands in front and would not get company any more.
    private mutating func skipRunning() {
        while firstRunning < running.count, lonelyProvider(of: running[firstRunning].attempt) == nil {
            firstRunning += 1
        }
    }

    private mutating func findStragglers(_ now: Double, _ actions: inout [Action]) {
        guard let any = likelyForAny else { return }
        skipRunning()
        var found: [(attempt: Attempt, provider: String, since: Double, likely: Double)] = []
        for (attempt, since) in running[firstRunning...] {
            // Those that began later are younger than any limit.
            guard now >= since + limit(any) else { break }
            guard let provider = lonelyProvider(of: attempt) else { continue }
            let likely = likely(attempt.client, any: any)
            if now >= since + limit(likely) { found.append((attempt, provider, since, likely)) }
        }
        for (attempt, provider, since, likely) in found.sorted(by: { $0.attempt < $1.attempt }) {
            state[attempt.client]?.hasCompany = true
            state[attempt.client]?.avoiding.insert(provider)
            actions.append(.slow(attempt, seconds: now - since, median: likely))
            launch(attempt.client, &actions)
        }
    }

    private mutating func scheduleWake(_ now: Double, _ actions: inout [Action]) {
        var next: Double?
        if let timeout = rules.roundTimeout, let begin, begin + timeout > now { next = begin + timeout }
        if let any = likelyForAny {
            skipRunning()
            for (attempt, since) in running[firstRunning...] where lonelyProvider(of: attempt) != nil {
                let earliest = since + limit(any)
                let late = now >= earliest ? since + limit(likely(attempt.client, any: any)) : earliest
                next = min(next ?? .infinity, late)
                if now < earliest { break }
            }
        }
        if let next, next != lastWake {
            lastWake = next
            actions.append(.wake(at: next))
        }
    }
}

/// Numbers in ascending order.
private struct Ascending {
    private var values: [Double] = []

    var count: Int { values.count }
    /// The lower one of two.
    var median: Double? { values.isEmpty ? nil : values[(values.count - 1) / 2] }

    mutating func insert(_ value: Double) {
        var (low, high) = (0, values.count)
        while low < high {
            let middle = (low + high) / 2
            if values[middle] <= value { low = middle + 1 } else { high = middle }
        }
        values.insert(value, at: low)
    }
}
