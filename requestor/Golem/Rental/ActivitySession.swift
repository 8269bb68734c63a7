import Synchronization
import Tracing
import Waiting

/// One activity as a place to run batches: one at a time, each with a limit, lost as soon as there is reason.
package final class ActivitySession: Sendable {
    let client: GolemClient
    let activityID: ActivityID
    let label: String
    let daemonPatience: Duration
    /// When the agreement ends by itself; no batch goes on beyond that, and nobody is to blame for it.
    let expiration: Timestamp
    /// Set once, when the machine is of no more use.
    package let lost = OneShot<GolemError>()
    /// Set when the machine is to be given back once it is free, with the reason: another takes its place.
    package let retirement = OneShot<String>()
    private let turn = WaitQueue(Turns(width: 1))

    package init(
        client: GolemClient, activityID: ActivityID, label: String, daemonPatience: Duration, expiration: Timestamp
    ) {
        self.client = client
        self.activityID = activityID
        self.label = label
        self.daemonPatience = daemonPatience
        self.expiration = expiration
    }

    package func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)? = nil,
        onDone: (@Sendable (Int) -> Void)? = nil
    ) async throws -> BatchResult {
        guard !commands.isEmpty else { return BatchResult(results: [], commandCount: 0) }
        return try await turn.pass {
            try await withSpan("golem.batch") { span in
                span.attributes["golem.activity.id"] = activityID.rawValue
                span.attributes["golem.batch.commands"] = commands.count
                let result = try await runAlone(commands, limit: limit, onEvent: onEvent, onDone: onDone)
                if let failed = result.failure {
                    span.setStatus(SpanStatus(code: .error, message: failed.message ?? "a command failed"))
                }
                return result
            }
        }
    }

    private func runAlone(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)?,
        onDone: (@Sendable (Int) -> Void)?
    ) async throws -> BatchResult {
        if let reason = lost.value { throw reason }
        let clock = BatchClock(commands, isTold: onDone != nil, client.watch)
        defer { clock.end() }
        let told = onDone.map { onDone -> @Sendable (Int) -> Void in
            { count in
                clock.done(count)
                onDone(count)
            }
        }
        do {
            return try await withThrowingTaskGroup(of: BatchResult?.self) { group in
                group.addTask { [self] in try await attempt(commands, onEvent: onEvent, onDone: told) }
                group.addTask { [lost] in throw try await lost.wait() }
                group.addTask { [client] in
                    try await client.waitWhileDaemonAnswers(limit) { clock.timeNotTheirs }
                    return nil
                }
                group.addTask { [self] in
                    try await Task.sleep(for: expiration - .now())
                    throw expired(cause: nil)
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let result = first else {
                    throw GolemError(
                        .timedOut, "`\(commands.map(\.summary).joined(separator: "; "))` did not end within \(limit)",
                        place: label, hint: "the machine is given up; raise the limit if the work needs longer")
                }
                return result
            }
        } catch let error as GolemError {
            // Whatever is still running there would make every later batch fail as "Busy".
            lost.set(lossError(error))
            throw lost.value ?? error
        } catch {
            lost.set(lossError(error))
            throw error
        }
    }

    private func lossError(_ cause: any Error) -> GolemError {
        guard let error = cause as? GolemError else {
            return GolemError(
                .closed, "the machine is lost: a batch was cancelled in it", place: label,
                hint: "another machine takes its place")
        }
        if [.closed, .expired].contains(error.code) { return error }
        // Providers end what is over, and clocks differ by a few seconds.
        if expiration - .now() < .seconds(5) { return expired(cause: error) }
        switch error.code {
        case .machineLost where !client.watch.wasAway(within: .seconds(60)): return error
        case .timedOut: return error
        case .unreachable:
            return GolemError(
                .unreachable, "the machine is lost: our own daemon did not answer for \(daemonPatience)", place: label,
                hint: "see whether the daemon is running", cause: error)
        default:
            // What broke while our own daemon was away is not the provider's doing.
            if client.watch.wasAway(within: .seconds(60)) {
                return GolemError(
                    .unreachable, "the machine is lost: it was not found again after our own daemon was away",
                    place: label,
                    hint: "another machine takes its place", cause: error)
            }
            return GolemError(
                .machineLost, "the machine is lost: its provider does not answer", place: label,
                hint: "another machine takes its place", cause: error)
        }
    }

    private func expired(cause: GolemError?) -> GolemError {
        GolemError(
            .expired, "the machine is lost: its agreement ended at \(expiration), as agreed", place: label,
            hint: "work that needs longer must be cut, or done under a longer agreement", cause: cause)
    }

    private func attempt(
        _ commands: [Command], onEvent: (@Sendable (RuntimeEvent) -> Void)?, onDone: (@Sendable (Int) -> Void)?
    ) async throws -> BatchResult {
        let batch = try await send(commands)
        guard let onEvent, LiveStreams.shared.begin() else {
            return try await poll(batch, count: commands.count, onDone: onDone)
        }
        defer { LiveStreams.shared.end() }
        // Behind the last program nothing is shown any more.
        let last = commands.lastIndex { if case .run = $0 { true } else { false } } ?? commands.count - 1
        return try await withThrowingTaskGroup(of: BatchResult?.self) { group in
            group.addTask { [self] in
                // For display only: a stream that breaks does not matter, the poll tells the truth.
                try? await client.activity.stream(of: batch, on: activityID, last: last) { onEvent($0) }
                return nil
            }
            group.addTask { [self] in try await poll(batch, count: commands.count, onDone: onDone) }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let result = next { return result }
            }
            throw CancellationError()
        }
    }

    /// Sends a batch; waits for our own daemon if it is away, as a call that was never sent may be repeated.
    private func send(_ commands: [Command]) async throws -> BatchID {
        try await client.waitingForDaemon(patience: daemonPatience) {
            try await client.activity.execute(commands, on: activityID)
        }
    }

    /// Waits for the end of a batch. Where somebody wants to know of each command, each is waited for.
    private func poll(
        _ batch: BatchID, count: Int, onDone: (@Sendable (Int) -> Void)?
    ) async throws -> BatchResult {
        let clock = ContinuousClock()
        var done = 0
        var peerFailures = 0
        var awaySince: ContinuousClock.Instant?
        while true {
            do {
                let results = try await client.activity.results(
                    of: batch, on: activityID, command: onDone.map { _ in done }, timeout: .seconds(10))
                peerFailures = 0
                awaySince = nil
                let result = BatchResult(told: results, commandCount: count)
                if result.isFinished { return result }
                if result.results.count > done {
                    done = result.results.count
                    onDone?(done)
                    continue
                }
                // A daemon that answers at once, against its own rules, must not be asked in a hot loop.
                try await Task.sleep(for: .milliseconds(20))
            } catch let error as GolemError {
                switch error.code {
                case .unreachable:
                    let since = awaySince ?? clock.now
                    awaySince = since
                    guard clock.now - since < daemonPatience else { throw error }
                    try await Task.sleep(for: .milliseconds(300))
                case .timedOut:
                    continue
                case .peer, .daemon, .notFound:
                    // After a restart of our own daemon the way to the provider takes some seconds to come back.
                    let restarted = client.watch.wasAway(within: GolemClient.recovery)
                    peerFailures += 1
                    if let state = try? await client.activity.state(activityID), state.isOver {
                        throw ended(state, cause: error)
                    }
                    guard peerFailures < 3 || restarted else { throw error }
                    try await Task.sleep(for: .milliseconds(500))
                default:
                    throw error
                }
            }
        }
    }

    private func ended(_ state: ActivityState, cause: GolemError) -> GolemError {
        let reason = [state.reason, state.errorMessage].compactMap(\.self).joined(separator: ", ")
        return GolemError(
            .machineLost,
            "the machine is lost: its activity is \(state.current)" + (reason.isEmpty ? "" : " (\(reason))"),
            place: label, hint: "another machine takes its place", cause: cause)
    }
}

/// How much of a batch's time was not its machine's: more while it moves files than while it computes.
private final class BatchClock: Sendable {
    private struct State {
        /// Of the stages that are over.
        var sum = Duration.zero
        var movesFiles = false
        /// What the watch told when the present stage began.
        var begin: Duration
    }

    private let watch: DaemonWatch
    /// Which commands move files through our own daemon.
    private let movesFiles: [Bool]
    private let state: Mutex<State>

    /// - Parameter isTold: whether ``done(_:)`` will be called; where it is not, one transfer makes the batch one.
    init(_ commands: [Command], isTold: Bool, _ watch: DaemonWatch) {
        self.watch = watch
        let movesFiles = commands.map { command in
            guard case .transfer(let from, let to) = command else { return false }
            return from.hasPrefix("gftp:") || to.hasPrefix("gftp:")
        }
        self.movesFiles = isTold ? movesFiles : [movesFiles.contains(true)]
        state = Mutex(State(begin: watch.timeNotTheirs()))
        done(0)
    }

    /// So many commands are done, and the next one goes on.
    func done(_ count: Int) { enter(movesFiles.indices.contains(count) && movesFiles[count]) }

    func end() { enter(false) }

    private func enter(_ movesFiles: Bool) {
        let change = state.withLock { state in
            let before = state.movesFiles
            state.sum += watch.timeNotTheirs(ofTransfers: before) - state.begin
            state.movesFiles = movesFiles
            state.begin = watch.timeNotTheirs(ofTransfers: movesFiles)
            return (movesFiles ? 1 : 0) - (before ? 1 : 0)
        }
        if change != 0 { watch.transferring(change) }
    }

    var timeNotTheirs: Duration {
        state.withLock { $0.sum + watch.timeNotTheirs(ofTransfers: $0.movesFiles) - $0.begin }
    }
}

/// How many machines are watched live. A stream is for display and holds a connection: with more machines than a screen
/// has lines, the others are only asked for their results.
private final class LiveStreams: Sendable {
    static let shared = LiveStreams(most: 32)

    private let most: Int
    private let count = Mutex(0)

    init(most: Int) {
        self.most = most
    }

    func begin() -> Bool {
        count.withLock { count in
            guard count < most else { return false }
            count += 1
            return true
        }
    }

    func end() { count.withLock { $0 -= 1 } }
}
