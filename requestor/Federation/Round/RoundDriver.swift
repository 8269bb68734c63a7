import Jobs
import NeuralNetwork
import Tensors

/// Performs what ``RoundMachine`` decides: gives assignments to the fleet, tells the machine what becomes of them, and
/// collects the answers.
struct RoundDriver: Sendable {
    /// What a round has brought.
    struct Result: Sendable {
        /// Accepted answers, in order of their clients.
        var answers: [(attempt: Int, result: WorkerResult)] = []
        var failures: [FailureRecord] = []
        /// Of all attempts, wasted ones included.
        var bytesUp = 0
        var bytesDown = 0
        var leftOut: [Int] = []
    }

    let fleet: any Fleet
    let rules: RoundMachine.Rules
    /// The assignment of a client; the driver fills in what depends on the attempt.
    let assignment: @Sendable (_ client: Int) throws -> TrainAssignment
    /// Refuses an update that must not be averaged.
    let check: @Sendable (Update) throws(DeMLError) -> Void
    let journal: @Sendable (RunEvent.Kind) -> Void

    private enum Message: Sendable {
        case progress(RoundMachine.Attempt, WorkerProgress)
        case ended(RoundMachine.Attempt, Swift.Result<WorkerResult, any Error>)
        case tick
    }

    /// Runs a round to its close, or to its failure. Whatever way it ends, no attempt is under way any more.
    func run(round: Int, clients: [Int]) async throws -> Result {
        let (mailbox, mail) = AsyncStream.makeStream(of: Message.self)
        let assignments = try clients.map { ($0, try assignment($0)) }
        return try await withThrowingDiscardingTaskGroup { group in
            defer { mail.finish() }
            var state = DriverState(
                round: round, machine: RoundMachine(clients: clients, rules: rules),
                assignments: Dictionary(uniqueKeysWithValues: assignments))
            let start = ContinuousClock.now
            func now() -> Double { (ContinuousClock.now - start) / .seconds(1) }

            func perform(_ actions: [RoundMachine.Action]) {
                for action in actions {
                    switch action {
                    case .launch(let attempt, let avoiding):
                        guard var assignment = state.assignments[attempt.client] else { continue }
                        assignment.attempt = attempt.number
                        assignment.avoiding = avoiding
                        let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
                        state.underWay[attempt] = DriverState.UnderWay(stop: stop)
                        group.addTask { [fleet] in
                            let result = await Self.train(assignment, on: fleet, until: stopped) {
                                mail.yield(.progress(attempt, $0))
                            }
                            mail.yield(.ended(attempt, result))
                        }
                    case .cancel(let attempt):
                        state.underWay[attempt]?.stop.finish()
                    case .wake(let time):
                        group.addTask {
                            try? await Task.sleep(until: start + .seconds(time))
                            if !Task.isCancelled { mail.yield(.tick) }
                        }
                    case .accept(let attempt): state.accept(attempt)
                    case .discard: break
                    case .failureHandled(let attempt, let consequence): state.note(consequence, for: attempt)
                    case .slow(let attempt, let seconds, let median):
                        journal(
                            .stragglerFound(
                                RunEvent.Straggler(
                                    round: round, client: attempt.client, attempt: attempt.number,
                                    provider: state.underWay[attempt]?.provider, seconds: seconds, median: median)))
                    case .close(let outcome): state.outcome = outcome
                    }
                }
            }

            perform(state.machine.handle(.begin, now: now()))
            if !state.isOver {
                for await message in mailbox {
                    switch message {
                    case .progress(let attempt, let progress):
                        if let event = state.take(progress, of: attempt, journal) {
                            perform(state.machine.handle(event, now: now()))
                        }
                    case .ended(let attempt, let result):
                        state.underWay[attempt]?.stop.finish()
                        let event = try state.take(result, of: attempt, check: check)
                        perform(state.machine.handle(event, now: now()))
                        state.report(attempt, journal)
                    case .tick:
                        perform(state.machine.handle(.tick, now: now()))
                    }
                    if state.isOver { break }
                }
            }
            // Sleeping ticks, and after a cancellation everything that is still under way.
            group.cancelAll()
            try Task.checkCancellation()
            return try state.result()
        }
    }

    /// One attempt that ends early when `stopped` does.
    private static func train(
        _ assignment: TrainAssignment, on fleet: any Fleet, until stopped: AsyncStream<Never>,
        progress: @escaping @Sendable (WorkerProgress) -> Void
    ) async -> Swift.Result<WorkerResult, any Error> {
        await withTaskGroup(of: Swift.Result<WorkerResult, any Error>?.self) { group in
            group.addTask {
                do { return .success(try await fleet.train(assignment, progress: progress)) } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                for await _ in stopped {}
                return nil
            }
            var result: Swift.Result<WorkerResult, any Error> = .failure(CancellationError())
            for await ended in group {
                if let ended { result = ended }
                group.cancelAll()
            }
            return result
        }
    }
}

/// What the driver remembers between messages.
private struct DriverState {
    struct UnderWay {
        var stop: AsyncStream<Never>.Continuation
        var provider: Provider?
    }

    let round: Int
    var machine: RoundMachine
    var assignments: [Int: TrainAssignment]
    var underWay: [RoundMachine.Attempt: UnderWay] = [:]
    var outcome: RoundMachine.Outcome?
    /// Good answers until the machine has said whether they count.
    private var waiting: [RoundMachine.Attempt: WorkerResult] = [:]
    private var accepted: [RoundMachine.Attempt: WorkerResult] = [:]
    private var lastFailure: [RoundMachine.Attempt: WorkerFailure] = [:]
    private var consequences: [RoundMachine.Attempt: RoundMachine.Consequence] = [:]
    private var collected = RoundDriver.Result()

    init(round: Int, machine: RoundMachine, assignments: [Int: TrainAssignment]) {
        self.round = round
        self.machine = machine
        self.assignments = assignments
    }

    /// The machine has closed the round and every attempt has ended.
    var isOver: Bool { outcome != nil && underWay.isEmpty }

    mutating func accept(_ attempt: RoundMachine.Attempt) { accepted[attempt] = waiting.removeValue(forKey: attempt) }

    mutating func note(_ consequence: RoundMachine.Consequence, for attempt: RoundMachine.Attempt) {
        consequences[attempt] = consequence
    }

    mutating func take(
        _ progress: WorkerProgress, of attempt: RoundMachine.Attempt, _ journal: (RunEvent.Kind) -> Void
    ) -> RoundMachine.Event? {
        guard underWay[attempt] != nil else { return nil }
        switch progress {
        case .started(let provider):
            underWay[attempt]?.provider = provider
            journal(
                .attemptStarted(
                    RunEvent.Attempt(round: round, client: attempt.client, attempt: attempt.number, provider: provider))
            )
            return .started(attempt, provider: provider.id)
        case .stage(let stage):
            journal(
                .attemptStage(
                    RunEvent.AttemptStage(
                        round: round, client: attempt.client, attempt: attempt.number,
                        provider: underWay[attempt]?.provider, stage: stage)))
        case .epoch(let epoch):
            journal(
                .epochFinished(
                    RunEvent.EpochFinished(
                        round: round, client: attempt.client, attempt: attempt.number,
                        provider: underWay[attempt]?.provider, progress: epoch)))
        }
        return nil
    }

    /// Files the end of an attempt and says what it means to the machine. An error that is not about this attempt is
    /// thrown on.
    mutating func take(
        _ result: Result<WorkerResult, any Error>, of attempt: RoundMachine.Attempt,
        check: (Update) throws(DeMLError) -> Void
    ) throws -> RoundMachine.Event {
        let provider = underWay.removeValue(forKey: attempt)?.provider
        var failure: WorkerFailure
        switch result {
        case .success(let result):
            collected.bytesUp += result.bytesUp
            collected.bytesDown += result.bytesDown
            do throws(DeMLError) {
                try check(result.update)
                waiting[attempt] = result
                return .succeeded(attempt)
            } catch {
                failure = WorkerFailure(
                    .badResult, provider: result.provider, stage: "verify", message: error.summary,
                    report: result.report, seconds: result.seconds, costGLM: result.costGLM)
            }
        case .failure(let error as WorkerFailure):
            failure = error
            collected.bytesUp += failure.bytesUp
            collected.bytesDown += failure.bytesDown
        case .failure(is CancellationError):
            failure = WorkerFailure(
                .cancelled, provider: provider, stage: "train", message: "it was not needed any more")
        case .failure(let error):
            throw error
        }
        if failure.provider == nil { failure.provider = provider }
        lastFailure[attempt] = failure
        return .failed(attempt, isRetryable: failure.isRetryable)
    }

    /// Tells of an attempt that has ended, after the machine has decided what it means.
    mutating func report(_ attempt: RoundMachine.Attempt, _ journal: (RunEvent.Kind) -> Void) {
        waiting[attempt] = nil
        if let result = accepted[attempt] {
            let last = result.training.epochs.last
            journal(
                .attemptSucceeded(
                    RunEvent.AttemptSucceeded(
                        round: round, client: attempt.client, attempt: attempt.number, provider: result.provider,
                        examples: result.update.examples, seconds: result.seconds,
                        samplesPerSecond: result.training.machine.samplesPerSecond, loss: last?.loss,
                        accuracy: last?.accuracy,
                        bytesUp: result.bytesUp, bytesDown: result.bytesDown, costGLM: result.costGLM,
                        deltaSHA256: result.training.digests.output)))
        } else if let failure = lastFailure.removeValue(forKey: attempt),
            let consequence = consequences.removeValue(forKey: attempt)
        {
            let next: RunEvent.AttemptFailed.Next =
                switch consequence {
                case .retry: .retry
                case .elsewhere: .elsewhere
                case .leftOut: .leftOut
                }
            let name = RunFolder.failureRecordName(client: attempt.client, attempt: attempt.number)
            collected.failures.append(FailureRecord(attempt, failure, next))
            journal(
                .attemptFailed(
                    RunEvent.AttemptFailed(
                        round: round, client: attempt.client, attempt: attempt.number, provider: failure.provider,
                        failure: failure.kind, stage: failure.stage, message: failure.message,
                        exitCode: failure.exitCode, next: next,
                        record: "rounds/\(RunFolder.padded(round))/\(name)",
                        standardErrorTail: failure.standardErrorTail)))
        }
    }

    /// The round's outcome; throws when too few answers came.
    func result() throws -> RoundDriver.Result {
        var result = collected
        result.answers = accepted.sorted { $0.key < $1.key }.map { ($0.key.number, $0.value) }
        switch outcome {
        case .finished(_, let leftOut):
            result.leftOut = leftOut
            return result
        case .failed(let answered, _):
            let last = collected.failures.last
            throw DeMLError(
                .workerFailed,
                "round \(round) cannot go on: \(answered.count) of \(machine.clients.count) workers gave a good answer,"
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

/// What is kept of an attempt that gave nothing: `rounds/0003/failed-0007-1.json`.
public struct FailureRecord: Codable, Sendable {
    public var client: Int
    public var attempt: Int
    public var provider: Provider?
    public var failure: WorkerFailure.Kind
    public var stage: String
    public var message: String
    public var next: RunEvent.AttemptFailed.Next
    public var exitCode: Int32?
    public var seconds: Double
    public var bytesUp: Int
    public var bytesDown: Int
    public var costGLM: Double?
    /// As the worker wrote it, where it did.
    public var report: Receipt?
    public var standardErrorTail: String?

    init(_ attempt: RoundMachine.Attempt, _ failure: WorkerFailure, _ next: RunEvent.AttemptFailed.Next) {
        client = attempt.client
        self.attempt = attempt.number
        provider = failure.provider
        self.failure = failure.kind
        stage = failure.stage
        message = failure.message
        self.next = next
        exitCode = failure.exitCode
        seconds = failure.seconds
        bytesUp = failure.bytesUp
        bytesDown = failure.bytesDown
        costGLM = failure.costGLM
        report = failure.report
        standardErrorTail = failure.standardErrorTail
    }

    enum CodingKeys: String, CodingKey {
        case client, attempt, provider, failure, stage, message, next, seconds, report
        case exitCode = "exit_code"
        case bytesUp = "bytes_up"
        case bytesDown = "bytes_down"
        case costGLM = "cost_glm"
        case standardErrorTail = "stderr"
    }
}
