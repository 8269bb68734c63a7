import Federation
import Fleets
import Tensors
import Testing

private typealias Attempt = RoundMachine.Attempt

@Suite("A round as a pure state machine")
struct RoundMachineTests {
    @Test("every client answers: the round closes with all of them, in order")
    func allAnswer() {
        var machine = RoundMachine(clients: [7, 2, 5], rules: .init(requiredAnswers: 3, retries: 0))
        #expect(
            machine.handle(.begin, now: 0) == [2, 5, 7].map { .launch(Attempt(client: $0, number: 1), avoiding: []) })
        for client in [7, 2] {
            let attempt = Attempt(client: client, number: 1)
            #expect(machine.handle(.started(attempt, provider: "p\(client)"), now: 1) == [])
            #expect(machine.handle(.succeeded(attempt), now: 2) == [.accept(attempt)])
        }
        let last = Attempt(client: 5, number: 1)
        #expect(
            machine.handle(.succeeded(last), now: 3) == [
                .accept(last), .close(.finished(answered: [2, 5, 7], leftOut: [])),
            ])
        #expect(machine.isFinished)
    }

    @Test("a failed training is given to another worker, until there are no tries left")
    func retries() {
        var machine = RoundMachine(clients: [0], rules: .init(requiredAnswers: 1, retries: 1))
        _ = machine.handle(.begin, now: 0)
        _ = machine.handle(.started(Attempt(client: 0, number: 1), provider: "a"), now: 0)
        #expect(
            machine.handle(.failed(Attempt(client: 0, number: 1), isRetryable: true), now: 1) == [
                .failureHandled(Attempt(client: 0, number: 1), .retry),
                .launch(Attempt(client: 0, number: 2), avoiding: ["a"]),
            ])
        _ = machine.handle(.started(Attempt(client: 0, number: 2), provider: "b"), now: 1)
        #expect(
            machine.handle(.failed(Attempt(client: 0, number: 2), isRetryable: true), now: 2) == [
                .failureHandled(Attempt(client: 0, number: 2), .leftOut),
                .close(.failed(answered: [], leftOut: [0])),
            ])
    }

    @Test("an answer that is not believed any more is given to another, even after the round has closed")
    func revoked() {
        var machine = RoundMachine(clients: [0, 1], rules: .init(requiredAnswers: 2, retries: 0))
        _ = machine.handle(.begin, now: 0)
        for client in 0..<2 {
            _ = machine.handle(.started(Attempt(client: client, number: 1), provider: "a"), now: 0)
            _ = machine.handle(.succeeded(Attempt(client: client, number: 1)), now: 1)
        }
        #expect(machine.isFinished)
        #expect(
            machine.handle(.revoked(client: 1, provider: "a"), now: 2) == [
                .launch(Attempt(client: 1, number: 2), avoiding: ["a"])
            ])
        #expect(!machine.isFinished)
        // It has no answer now: there is nothing to take back.
        #expect(machine.handle(.revoked(client: 1, provider: "b"), now: 2) == [])
        #expect(
            machine.handle(.succeeded(Attempt(client: 1, number: 2)), now: 3) == [
                .accept(Attempt(client: 1, number: 2)), .close(.finished(answered: [0, 1], leftOut: [])),
            ])
        // A round that has failed stays so.
        var failed = RoundMachine(clients: [0, 1], rules: .init(requiredAnswers: 2, retries: 0))
        _ = failed.handle(.begin, now: 0)
        _ = failed.handle(.succeeded(Attempt(client: 0, number: 1)), now: 1)
        _ = failed.handle(.failed(Attempt(client: 1, number: 1), isRetryable: true), now: 2)
        #expect(failed.handle(.revoked(client: 0, provider: "a"), now: 3) == [] && failed.isFinished)
    }

    @Test("what was answered before is not asked again")
    func answeredBefore() {
        var machine = RoundMachine(clients: [0, 1, 2], answered: [0, 2], rules: .init(requiredAnswers: 3, retries: 0))
        #expect(machine.handle(.begin, now: 0) == [.launch(Attempt(client: 1, number: 1), avoiding: [])])
        var all = RoundMachine(clients: [0], answered: [0], rules: .init(requiredAnswers: 1, retries: 0))
        #expect(all.handle(.begin, now: 0) == [.close(.finished(answered: [0], leftOut: []))])
    }

    @Test("what every worker would refuse is not given to another")
    func notRetryable() {
        var machine = RoundMachine(clients: [0, 1], rules: .init(requiredAnswers: 1, retries: 5))
        _ = machine.handle(.begin, now: 0)
        #expect(
            machine.handle(.failed(Attempt(client: 1, number: 1), isRetryable: false), now: 1) == [
                .failureHandled(Attempt(client: 1, number: 1), .leftOut)
            ])
        #expect(
            machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 2).last
                == .close(.finished(answered: [0], leftOut: [1])))
    }

    @Test("a round that cannot reach the required answers ends at once")
    func outOfReach() {
        var machine = RoundMachine(clients: [0, 1, 2], rules: .init(requiredAnswers: 3, retries: 0))
        _ = machine.handle(.begin, now: 0)
        let actions = machine.handle(.failed(Attempt(client: 1, number: 1), isRetryable: true), now: 1)
        #expect(
            actions == [
                .failureHandled(Attempt(client: 1, number: 1), .leftOut), .cancel(Attempt(client: 0, number: 1)),
                .cancel(Attempt(client: 2, number: 1)), .close(.failed(answered: [], leftOut: [0, 1, 2])),
            ])
        #expect(
            machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 2) == [.discard(.init(client: 0, number: 1))]
        )
    }

    @Test(
        "a slow attempt gets company; the first good answer counts, the other is stopped and, if it still comes, ignored"
    )
    func stragglers() {
        var machine = RoundMachine(
            clients: [0, 1, 2], rules: .init(requiredAnswers: 3, retries: 0, stragglerFactor: 3))
        _ = machine.handle(.begin, now: 0)
        for client in 0..<3 {
            _ = machine.handle(.started(Attempt(client: client, number: 1), provider: "p\(client)"), now: 0)
        }
        _ = machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 10)
        let second = machine.handle(.succeeded(Attempt(client: 1, number: 1)), now: 12)
        #expect(second.last == .wake(at: 30))
        let slow = Attempt(client: 2, number: 1)
        let company = Attempt(client: 2, number: 2)
        #expect(machine.handle(.tick, now: 29.5) == [.wake(at: 30)])
        #expect(
            machine.handle(.tick, now: 30) == [
                .slow(slow, seconds: 30, median: 10), .launch(company, avoiding: ["p2"]),
            ])
        _ = machine.handle(.started(company, provider: "p0"), now: 31)
        #expect(
            machine.handle(.succeeded(company), now: 40) == [
                .accept(company), .cancel(slow), .close(.finished(answered: [0, 1, 2], leftOut: [])),
            ])
        #expect(machine.handle(.succeeded(slow), now: 41) == [.discard(slow)])
    }

    @Test("who has more work may take longer; who has less is not slow because of what every job takes")
    func unequalWork() {
        var machine = RoundMachine(
            clients: [0, 1, 2, 3], work: [0: 10, 1: 10, 2: 100, 3: 1],
            rules: .init(requiredAnswers: 4, retries: 0, stragglerFactor: 2))
        _ = machine.handle(.begin, now: 0)
        for client in 0..<4 {
            _ = machine.handle(.started(Attempt(client: client, number: 1), provider: "p\(client)"), now: 0)
        }
        _ = machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 10)
        _ = machine.handle(.succeeded(Attempt(client: 1, number: 1)), now: 10)
        let (large, small) = (Attempt(client: 2, number: 1), Attempt(client: 3, number: 1))
        #expect(
            machine.handle(.tick, now: 20) == [
                .slow(small, seconds: 20, median: 10), .launch(Attempt(client: 3, number: 2), avoiding: ["p3"]),
                .wake(at: 200),
            ])
        #expect(machine.handle(.tick, now: 199).contains(.wake(at: 200)))
        #expect(machine.handle(.tick, now: 200).first == .slow(large, seconds: 200, median: 100))
    }

    @Test("the failure of a slow attempt is no loss while its company is at work")
    func stragglerFails() {
        var machine = RoundMachine(
            clients: [0, 1], rules: .init(requiredAnswers: 2, retries: 0, stragglerFactor: 2))
        _ = machine.handle(.begin, now: 0)
        for client in 0..<2 {
            _ = machine.handle(.started(Attempt(client: client, number: 1), provider: "p\(client)"), now: 0)
        }
        _ = machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 10)
        _ = machine.handle(.tick, now: 20)
        #expect(
            machine.handle(.failed(Attempt(client: 1, number: 1), isRetryable: true), now: 21) == [
                .failureHandled(Attempt(client: 1, number: 1), .elsewhere)
            ])
        #expect(
            machine.handle(.succeeded(Attempt(client: 1, number: 2)), now: 30).last
                == .close(.finished(answered: [0, 1], leftOut: [])))
    }

    @Test("after the round's time it closes as soon as there are enough answers")
    func roundTimeout() {
        var machine = RoundMachine(
            clients: [0, 1, 2], rules: .init(requiredAnswers: 2, retries: 0, roundTimeout: 60))
        #expect(machine.handle(.begin, now: 5).last == .wake(at: 65))
        _ = machine.handle(.succeeded(Attempt(client: 2, number: 1)), now: 20)
        #expect(machine.handle(.tick, now: 65) == [])
        #expect(
            machine.handle(.succeeded(Attempt(client: 0, number: 1)), now: 80) == [
                .accept(Attempt(client: 0, number: 1)), .cancel(Attempt(client: 1, number: 1)),
                .close(.finished(answered: [0, 2], leftOut: [1])),
            ])
    }

    @Test("random rounds keep every promise", arguments: 0..<40)
    func randomRounds(batch: UInt64) throws {
        for number in 0..<100 {
            var world = World(seed: batch * 1000 + UInt64(number))
            try world.play()
        }
    }
}

/// A made-up world around a machine: workers that start late, fail, answer after they were stopped, or never are slow. It
/// checks after every event what must always hold, and at the end what must have come about.
private struct World {
    private enum Life { case queued, running, ended, cancelled }

    let seed: UInt64
    var random: SeededGenerator
    let rules: RoundMachine.Rules
    let clients: [Int]
    var machine: RoundMachine
    var now = 0.0
    var events: [(time: Double, event: RoundMachine.Event)] = []
    private var life: [Attempt: Life] = [:]
    var wake: Double?
    var accepted: [Int: Attempt] = [:]
    var failedProviders: [Int: Set<String>] = [:]
    var failures: [Int: Int] = [:]
    var hopeless: Set<Int> = []
    var slowed: Set<Int> = []
    var outcome: RoundMachine.Outcome?

    init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed, purpose: "random rounds")
        let count = 1 + random.uniform(below: 8)
        clients = Array(random.permutation(20).prefix(count))
        rules = RoundMachine.Rules(
            requiredAnswers: 1 + random.uniform(below: count), retries: random.uniform(below: 4),
            stragglerFactor: [0, 1.5, 3][random.uniform(below: 3)],
            stragglerMinimumSeconds: random.uniform(below: 2) == 0 ? 0 : 5,
            roundTimeout: random.uniform(below: 3) == 0 ? Double(random.uniform(below: 100)) : nil)
        var work: [Int: Double] = [:]
        if random.uniform(below: 2) == 0 {
            for client in clients { work[client] = Double(1 + random.uniform(below: 20)) }
        }
        machine = RoundMachine(clients: clients, work: work, rules: rules)
    }

    mutating func play() throws {
        try take(.begin)
        var steps = 0
        while outcome == nil || !events.isEmpty {
            steps += 1
            try #require(steps < 10_000, "seed \(seed): the round does not end")
            let next = events.indices.min { events[$0].time < events[$1].time }
            if let wake, outcome == nil, next.map({ wake <= events[$0].time }) ?? true {
                now = max(now, wake)
                self.wake = nil
                try take(.tick)
            } else {
                let index = try #require(next, "seed \(seed): nothing is under way, yet the round is not over")
                let (time, event) = events.remove(at: index)
                now = time
                try take(event)
            }
        }
        try checkEnd()
    }

    private mutating func take(_ event: RoundMachine.Event) throws {
        switch event {
        case .started(let attempt, _): if life[attempt] == .queued { life[attempt] = .running }
        case .failed(let attempt, let isRetryable):
            if life[attempt] != .cancelled {
                life[attempt] = .ended
                failures[attempt.client, default: 0] += 1
                if !isRetryable { hopeless.insert(attempt.client) }
                if startedProvider[attempt] != nil {
                    failedProviders[attempt.client, default: []].insert("p\(attempt)")
                }
            }
        default: break
        }
        for action in machine.handle(event, now: now) { try perform(action, after: event) }
    }

    private var startedProvider: [Attempt: String] = [:]

    private mutating func perform(_ action: RoundMachine.Action, after event: RoundMachine.Event) throws {
        let context: Comment = "seed \(seed) at \(now): \(action) after \(event)"
        switch action {
        case .launch(let attempt, let avoiding):
            try #require(outcome == nil, context)
            try #require(clients.contains(attempt.client) && life[attempt] == nil, context)
            try #require(
                attempt.number == 1 || life[Attempt(client: attempt.client, number: attempt.number - 1)] != nil, context
            )
            try #require(attempt.number <= rules.retries + 2, context)
            try #require(accepted[attempt.client] == nil && !hopeless.contains(attempt.client), context)
            try #require(avoiding.isSuperset(of: failedProviders[attempt.client] ?? []), context)
            life[attempt] = .queued
            plan(attempt)
        case .cancel(let attempt):
            try #require(outcome == nil && (life[attempt] == .queued || life[attempt] == .running), context)
            life[attempt] = .cancelled
        case .accept(let attempt):
            try #require(outcome == nil && accepted[attempt.client] == nil, context)
            try #require(life[attempt] == .queued || life[attempt] == .running, context)
            accepted[attempt.client] = attempt
            life[attempt] = .ended
        case .discard(let attempt):
            try #require(life[attempt] == .cancelled, context)
        case .failureHandled(let attempt, let consequence):
            try #require(outcome == nil && life[attempt] == .ended, context)
            if consequence == .leftOut {
                try #require(
                    hopeless.contains(attempt.client) || (failures[attempt.client] ?? 0) > rules.retries, context)
            }
        case .slow(let attempt, let seconds, let median):
            try #require(rules.stragglerFactor > 0 && life[attempt] == .running, context)
            try #require(slowed.insert(attempt.client).inserted, context)
            try #require(seconds >= rules.stragglerFactor * median * 0.999_999, context)
        case .wake(let at):
            try #require(outcome == nil && at >= now, context)
            wake = at
        case .close(let outcome):
            try #require(self.outcome == nil, context)
            self.outcome = outcome
            for (attempt, state) in life {
                try #require(state == .ended || state == .cancelled, "\(attempt) is forgotten: \(context)")
            }
        }
    }

    /// Makes up what will become of an attempt. A cancelled one still ends, sometimes with an answer.
    private mutating func plan(_ attempt: Attempt) {
        var time = now + Double(random.uniform(below: 10))
        if random.uniform(below: 10) > 0 {
            startedProvider[attempt] = "p\(attempt)"
            events.append((time, .started(attempt, provider: "p\(attempt)")))
        }
        time += 0.5 + Double(random.uniform(below: random.uniform(below: 5) == 0 ? 300 : 20))
        switch random.uniform(below: 10) {
        case 0: events.append((time, .failed(attempt, isRetryable: false)))
        case 1...3: events.append((time, .failed(attempt, isRetryable: true)))
        default: events.append((time, .succeeded(attempt)))
        }
    }

    private func checkEnd() throws {
        let context: Comment = "seed \(seed)"
        let (answered, leftOut, isGood) =
            switch try #require(outcome, context) {
            case .finished(let answered, let leftOut): (answered, leftOut, true)
            case .failed(let answered, let leftOut): (answered, leftOut, false)
            }
        #expect(answered == accepted.keys.sorted(), context)
        #expect((answered + leftOut).sorted() == clients.sorted(), context)
        #expect(isGood == (answered.count >= rules.requiredAnswers), context)
        if isGood, rules.roundTimeout == nil {
            for client in leftOut {
                #expect(hopeless.contains(client) || (failures[client] ?? 0) > rules.retries, context)
            }
        }
    }
}
