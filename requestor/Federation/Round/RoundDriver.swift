import Aggregation
import Fleets
import NeuralNetwork
import Tensors

/// Performs what a ``Round`` says: gives assignments to the fleet, tells the round what becomes of them, adds deltas to the
/// average.
struct RoundDriver: Sendable {
    let session: any FleetSession
    /// Looks at every answer before the round hears of it.
    let auditor: Auditor
    /// The assignment of a client; the driver fills in what depends on the attempt.
    let assignment: @Sendable (_ client: Int) throws -> TrainAssignment
    /// Takes a delta that counts, one after the other.
    let average: @Sendable (Update) async throws -> Void
    let journal: @Sendable (RunEvent.Kind) -> Void

    private enum Message: Sendable {
        case progress(RoundMachine.Attempt, JobProgress)
        case ended(RoundMachine.Attempt, Swift.Result<WorkerResult, any Error>)
        case tick
    }

    /// Runs a round to its close, or to its failure. Whatever way it ends, no attempt is under way any more.
    func run(_ round: Round) async throws -> Round.Result {
        let (mailbox, mail) = AsyncStream.makeStream(of: Message.self)
        return try await withThrowingDiscardingTaskGroup { group in
            defer { mail.finish() }
            var round = round
            var stops: [RoundMachine.Attempt: AsyncStream<Never>.Continuation] = [:]
            let start = ContinuousClock.now
            func now() -> Double { (ContinuousClock.now - start) / .seconds(1) }

            var actions = round.handle(.begin, now: now())
            var messages = mailbox.makeAsyncIterator()
            while true {
                for action in actions {
                    switch action {
                    case .launch(let attempt, let avoiding):
                        var assignment = try assignment(attempt.client)
                        assignment.attempt = attempt.number
                        assignment.avoiding = avoiding
                        let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
                        stops[attempt] = stop
                        group.addTask { [session, auditor, assignment] in
                            let result = await Self.train(assignment, on: session, auditor, until: stopped) {
                                mail.yield(.progress(attempt, $0))
                            }
                            mail.yield(.ended(attempt, result))
                        }
                    case .stop(let attempt): stops[attempt]?.finish()
                    case .average(let update): try await average(update)
                    case .remove(let path): try? Files.remove(path)
                    case .journal(let event): journal(event)
                    case .wake(let time):
                        group.addTask {
                            try? await Task.sleep(until: start + .seconds(time))
                            if !Task.isCancelled { mail.yield(.tick) }
                        }
                    }
                }
                if round.isOver { break }
                guard let message = await messages.next() else { break }
                switch message {
                case .progress(let attempt, let progress):
                    actions = round.handle(.progress(attempt, progress), now: now())
                case .ended(let attempt, let result):
                    stops.removeValue(forKey: attempt)?.finish()
                    actions = round.handle(try Self.event(of: result, attempt), now: now())
                case .tick:
                    actions = round.handle(.tick, now: now())
                }
            }
            // Sleeping ticks, and after a cancellation everything that is still under way.
            group.cancelAll()
            try Task.checkCancellation()
            return try round.result()
        }
    }

    /// What the end of an attempt is to the round. An error that is not about this attempt is thrown on.
    private static func event(
        of result: Swift.Result<WorkerResult, any Error>, _ attempt: RoundMachine.Attempt
    ) throws -> Round.Event {
        switch result {
        case .success(let result): .answered(attempt, result)
        case .failure(let failure as WorkerFailure): .failed(attempt, failure)
        case .failure(is CancellationError):
            .failed(
                attempt,
                WorkerFailure(.cancelled, provider: nil, stage: "train", message: "it was not needed any more"))
        case .failure(let error): throw error
        }
    }

    /// One attempt that ends early when `stopped` does.
    private static func train(
        _ assignment: TrainAssignment, on session: any FleetSession, _ auditor: Auditor,
        until stopped: AsyncStream<Never>,
        progress: @escaping @Sendable (JobProgress) -> Void
    ) async -> Swift.Result<WorkerResult, any Error> {
        await withTaskGroup(of: Swift.Result<WorkerResult, any Error>?.self) { group in
            group.addTask {
                do {
                    let result = try await session.train(assignment, progress: progress)
                    return .success(try await auditor.review(result, of: assignment))
                } catch let failure as WorkerFailure {
                    return .failure(await auditor.review(failure, of: assignment))
                } catch {
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
