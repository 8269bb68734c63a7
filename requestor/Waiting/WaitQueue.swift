import Synchronization

/// Whose turn it is: a number for each asking, unique in its queue and rising.
package typealias WaitTicket = Int

/// What tasks wait for, as a pure value: requests come in, answers go out. It keeps the tickets of those that wait, in its
/// own order, and says who gets what; the ``WaitQueue`` lets the tasks go on.
package protocol WaitedResource: Sendable {
    associatedtype Request: Sendable
    associatedtype Grant: Sendable
    typealias Answers = [WaitAnswer<Grant>]

    /// Somebody asks; may be answered at once.
    mutating func requested(_ ticket: WaitTicket, _ request: Request) -> Answers
    /// Somebody who waits, and was not answered, asks no more.
    mutating func withdrawn(_ ticket: WaitTicket) -> Answers
    /// What was granted comes back unused: its task had been cancelled before it could take it.
    mutating func returned(_ grant: Grant) -> Answers
}

/// What one who waits is told.
package struct WaitAnswer<Grant: Sendable>: Sendable {
    package var ticket: WaitTicket
    package var result: Result<Grant, any Error>

    package init(_ ticket: WaitTicket, _ result: Result<Grant, any Error>) {
        self.ticket = ticket
        self.result = result
    }
}

/// Tasks that wait for a resource: the one place where tasks of ours are put to sleep and woken.
///
/// Nothing that is granted is lost: a task that is cancelled while it waits is withdrawn; one that is cancelled in the
/// moment in which it is granted something gives it back. Every call is a short critical section; tasks are resumed
/// outside of it.
package final class WaitQueue<Resource: WaitedResource>: Sendable {
    package typealias Answers = Resource.Answers
    private typealias Continuation = CheckedContinuation<Result<Resource.Grant, any Error>, Never>

    private struct State: Sendable {
        var resource: Resource
        var last: WaitTicket = 0
        var sleeping: [WaitTicket: Continuation] = [:]
    }

    private let state: Mutex<State>

    package init(_ resource: Resource) {
        state = Mutex(State(resource: resource))
    }

    /// Waits until the request is granted.
    /// - Throws: what the resource refuses it with; `CancellationError` when the task is cancelled first, and then nothing
    ///   stays granted.
    package func wait(for request: Resource.Request) async throws -> Resource.Grant {
        let ticket = state.withLock { state in
            state.last += 1
            return state.last
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Looked at under the lock: a cancellation from here on finds the continuation.
                let isCancelled = perform { state in
                    if Task.isCancelled { return (true, []) }
                    state.sleeping[ticket] = continuation
                    return (false, state.resource.requested(ticket, request))
                }
                if isCancelled { continuation.resume(returning: .failure(CancellationError())) }
            }
        } onCancel: {
            let sleeping = perform { state -> (Continuation?, Answers) in
                guard let sleeping = state.sleeping.removeValue(forKey: ticket) else { return (nil, []) }
                return (sleeping, state.resource.withdrawn(ticket))
            }
            sleeping?.resume(returning: .failure(CancellationError()))
        }
        let grant = try result.get()
        if Task.isCancelled {
            perform { state in ((), state.resource.returned(grant)) }
            throw CancellationError()
        }
        return grant
    }

    /// Something happens to the resource; who is answered goes on.
    package func update(_ body: (inout Resource) -> Answers) {
        perform { state in ((), body(&state.resource)) }
    }

    /// Looks at the resource.
    package func read<Value: Sendable>(_ body: (Resource) -> Value) -> Value {
        state.withLock { body($0.resource) }
    }

    private func perform<Value: Sendable>(_ body: (inout State) -> (Value, Answers)) -> Value {
        let (value, woken) = state.withLock { state in
            let (value, answers) = body(&state)
            let woken = answers.compactMap { answer in
                state.sleeping.removeValue(forKey: answer.ticket).map { ($0, answer.result) }
            }
            assert(woken.count == answers.count, "who does not wait was answered")
            return (value, woken)
        }
        for (sleeping, result) in woken { sleeping.resume(returning: result) }
        return value
    }
}
