import Aggregation
import Fleets
import Jobs
import NeuralNetwork
import Tensors

/// One round of a run as a pure value, all that is remembered of it included: what the fleet says goes in, what is to be
/// done comes out. ``RoundMachine`` decides who trains and when the round is over; here stands what that means for the
/// average, the journal and the records. No clock, no I/O.
struct Round: Sendable {
    typealias Attempt = RoundMachine.Attempt

    /// What the fleet says of an attempt, or the clock.
    enum Event: Sendable {
        case begin
        case progress(Attempt, JobProgress)
        case answered(Attempt, WorkerResult)
        case failed(Attempt, WorkerFailure)
        case tick
    }

    /// What to do, in this order.
    enum Action: Sendable {
        /// Give the client's training to the fleet; it ends with ``Event/answered(_:_:)`` or ``Event/failed(_:_:)``.
        case launch(Attempt, avoiding: Set<String>)
        /// End an attempt early.
        case stop(Attempt)
        /// Add a delta to the average.
        case average(Update)
        /// Remove a file that nobody needs.
        case remove(String)
        case journal(RunEvent.Kind)
        /// Send ``Event/tick`` at this time. A later wake replaces an earlier one.
        case wake(at: Double)
    }

    let number: Int
    /// Whether the files of deltas are kept.
    let keepsDeltas: Bool
    /// Refuses a delta that must not be averaged.
    private let check: @Sendable (Update) throws(DeMLError) -> Void
    private var machine: RoundMachine
    private var outcome: RoundMachine.Outcome?
    /// Attempts that have not ended yet, with who is at it.
    private var underWay: [Attempt: Provider?] = [:]
    /// The most of them. Where answers come faster than they can be averaged, they would pile up else.
    private let mostUnderWay: Int
    /// Launches that wait for others to end, first come, first served; `nil` where one was called off meanwhile.
    private var waiting: [(attempt: Attempt, avoiding: Set<String>)?] = []
    private var firstWaiting = 0
    private var answers: [WorkerRecord] = []
    private var failures: [FailureRecord] = []
    private var bytesUp = 0
    private var bytesDown = 0
    /// Files of the deltas that count, by client, where they are kept.
    private var deltaPaths: [Int: String] = [:]

    init(
        number: Int, clients: [Int], work: [Int: Double] = [:], rules: RoundMachine.Rules, keepsDeltas: Bool,
        mostUnderWay: Int = .max,
        check: @escaping @Sendable (Update) throws(DeMLError) -> Void
    ) {
        self.number = number
        self.keepsDeltas = keepsDeltas
        self.mostUnderWay = max(1, mostUnderWay)
        self.check = check
        machine = RoundMachine(clients: clients, work: work, rules: rules)
    }

    /// The machine has closed the round and every attempt has ended.
    var isOver: Bool { outcome != nil && underWay.isEmpty }

    /// Takes in what happened at time `now`, seconds from any fixed moment, and says what to do.
    mutating func handle(_ event: Event, now: Double) -> [Action] {
        let actions = take(event, now)
        return actions + launches()
    }

    private mutating func take(_ event: Event, _ now: Double) -> [Action] {
        switch event {
        case .begin: return follow(machine.handle(.begin, now: now))
        case .tick: return follow(machine.handle(.tick, now: now))
        case .progress(let attempt, let progress): return take(progress, of: attempt, now)
        case .answered(let attempt, let result):
            let provider = underWay.removeValue(forKey: attempt) ?? nil
            bytesUp += result.bytesUp
            bytesDown += result.bytesDown
            do throws(DeMLError) { try check(result.update) } catch {
                let failure = WorkerFailure(
                    .badResult, provider: result.provider, stage: "verify", message: error.summary,
                    report: result.report, seconds: result.seconds, costGLM: result.costGLM)
                return removal(of: result) + take(failure, of: attempt, provider, now)
            }
            return take(result, of: attempt, now)
        case .failed(let attempt, let failure):
            let provider = underWay.removeValue(forKey: attempt) ?? nil
            bytesUp += failure.bytesUp
            bytesDown += failure.bytesDown
            return take(failure, of: attempt, provider, now)
        }
    }

    /// What the machine's decisions mean. `ended` says what a decision about the attempt that has just ended means.
    private mutating func follow(
        _ decisions: [RoundMachine.Action], ended: (RoundMachine.Action, inout Round) -> [Action] = { _, _ in [] }
    ) -> [Action] {
        var actions: [Action] = []
        for decision in decisions {
            switch decision {
            case .launch(let attempt, let avoiding):
                waiting.append((attempt, avoiding))
            case .cancel(let attempt):
                if underWay[attempt] != nil {
                    actions.append(.stop(attempt))
                } else if let place = waiting[firstWaiting...].firstIndex(where: { $0?.attempt == attempt }) {
                    waiting[place] = nil
                }
            case .accept, .discard, .failureHandled: actions += ended(decision, &self)
            case .slow(let attempt, let seconds, let median):
                actions.append(
                    .journal(
                        .stragglerFound(
                            RunEvent.Straggler(
                                round: number, client: attempt.client, attempt: attempt.number,
                                provider: underWay[attempt] ?? nil, seconds: seconds, median: median))))
            case .wake(let time): actions.append(.wake(at: time))
            case .close(let outcome): self.outcome = outcome
            }
        }
        return actions
    }

    /// Lets go of launches that wait, as many as may be under way.
    private mutating func launches() -> [Action] {
        var actions: [Action] = []
        while underWay.count < mostUnderWay, firstWaiting < waiting.count {
            if let (attempt, avoiding) = waiting[firstWaiting] {
                underWay[attempt] = .some(nil)
                actions.append(.launch(attempt, avoiding: avoiding))
            }
            firstWaiting += 1
        }
        return actions
    }

    private mutating func take(_ progress: JobProgress, of attempt: Attempt, _ now: Double) -> [Action] {
        guard let provider = underWay[attempt] else { return [] }
        switch progress {
        case .started(let provider):
            underWay[attempt] = provider
            let event = RunEvent.Attempt(
                round: number, client: attempt.client, attempt: attempt.number, provider: provider)
            return [.journal(.attemptStarted(event))]
                + follow(machine.handle(.started(attempt, provider: provider.id), now: now))
        case .stage(let stage):
            let event = RunEvent.AttemptStage(
                round: number, client: attempt.client, attempt: attempt.number, provider: provider, stage: stage)
            return [.journal(.attemptStage(event))]
        case .epoch(let epoch):
            let event = RunEvent.EpochFinished(
                round: number, client: attempt.client, attempt: attempt.number, provider: provider, progress: epoch)
            return [.journal(.epochFinished(event))]
        }
    }

    private mutating func take(_ result: WorkerResult, of attempt: Attempt, _ now: Double) -> [Action] {
        follow(machine.handle(.succeeded(attempt), now: now)) { decision, round in
            guard case .accept = decision else { return round.removal(of: result) }
            return round.accept(result, of: attempt)
        }
    }

    private mutating func accept(_ result: WorkerResult, of attempt: Attempt) -> [Action] {
        answers.append(WorkerRecord(result, of: attempt))
        if keepsDeltas { deltaPaths[attempt.client] = result.deltaPath }
        let last = result.training.epochs.last
        let event = RunEvent.AttemptSucceeded(
            round: number, client: attempt.client, attempt: attempt.number, provider: result.provider,
            examples: result.update.examples, seconds: result.seconds,
            samplesPerSecond: result.training.machine.samplesPerSecond, loss: last?.loss, accuracy: last?.accuracy,
            bytesUp: result.bytesUp, bytesDown: result.bytesDown, costGLM: result.costGLM,
            deltaSHA256: result.training.digests.output)
        return [.average(result.update), .journal(.attemptSucceeded(event))] + (keepsDeltas ? [] : removal(of: result))
    }

    private func removal(of result: WorkerResult) -> [Action] { result.deltaPath.map { [.remove($0)] } ?? [] }

    private mutating func take(
        _ failure: WorkerFailure, of attempt: Attempt, _ provider: Provider?, _ now: Double
    ) -> [Action] {
        var failure = failure
        if failure.provider == nil { failure.provider = provider }
        let decisions = machine.handle(.failed(attempt, isRetryable: failure.isRetryable), now: now)
        return follow(decisions) { [failure] decision, round in
            guard case .failureHandled(_, let consequence) = decision else { return [] }
            return round.note(failure, of: attempt, consequence)
        }
    }

    private mutating func note(
        _ failure: WorkerFailure, of attempt: Attempt, _ consequence: RoundMachine.Consequence
    ) -> [Action] {
        let next: RunEvent.AttemptFailed.Next =
            switch consequence {
            case .retry: .retry
            case .elsewhere: .elsewhere
            case .leftOut: .leftOut
            }
        failures.append(FailureRecord(attempt, failure, next))
        let event = RunEvent.AttemptFailed(
            round: number, client: attempt.client, attempt: attempt.number, provider: failure.provider,
            failure: failure.kind, stage: failure.stage, message: failure.message, exitCode: failure.exitCode,
            next: next, record: "rounds/\(RunFolder.padded(number))/\(RunFolder.reportsName)",
            standardErrorTail: failure.standardErrorTail)
        return [.journal(.attemptFailed(event))]
    }

    /// What a round has brought.
    struct Result: Sendable {
        /// Of the clients whose deltas are in the average, in order.
        var answers: [WorkerRecord]
        var failures: [FailureRecord]
        /// Of all attempts, wasted ones included.
        var bytesUp: Int
        var bytesDown: Int
        var leftOut: [Int]
        var deltaPaths: [Int: String]
    }

    /// The round's outcome; throws when too few answers came.
    func result() throws -> Result {
        switch outcome {
        case .finished(_, let leftOut):
            return Result(
                answers: answers.sorted { $0.client < $1.client }, failures: failures, bytesUp: bytesUp,
                bytesDown: bytesDown, leftOut: leftOut, deltaPaths: deltaPaths)
        case .failed(let answered, _):
            let last = failures.last
            throw DeMLError(
                .workerFailed,
                "round \(number) cannot go on: \(answered.count) of \(machine.clients.count) workers gave a good answer,"
                    + " at least \(machine.rules.requiredAnswers) are needed",
                place: last?.provider.map { "\($0.name), shard \(last?.client ?? 0)" },
                hint:
                    "see events.jsonl; --resume goes on from the last finished round, --min-workers lets a round close"
                    + " with fewer",
                cause: last.map { DeMLError(.workerFailed, "at \($0.stage): \($0.message)") })
        case nil:
            throw DeMLError(.internal, "the round has no outcome")
        }
    }
}
