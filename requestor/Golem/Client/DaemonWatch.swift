import Synchronization
import Waiting

/// Whether our own daemon answers, as the calls of its clients see it.
///
/// While it is away nothing can arrive of what providers owe us, whatever the cause: it restarts, it hangs, this machine has
/// no file descriptors or no network left. So nothing of theirs is late then, and nobody is to blame. While it, or this
/// program, is slow (this machine has too much to do), what providers owe us takes longer through no fault of theirs: of
/// that time only a part counts (``timeNotTheirs(ofTransfers:at:)``).
public final class DaemonWatch: Sendable {
    private struct State {
        var lastAnswer: ContinuousClock.Instant
        var awaySince: ContinuousClock.Instant?
        var reason = ""
        /// Of outages that are over.
        var total = Duration.zero
        /// The end of the last outage that was more than a hiccup.
        var lastReturn: ContinuousClock.Instant?
        var nextReturn = OneShot<Void>()
        /// What slowness took, outages not counted: of any work, and of transfers, which share what we have.
        var slow = Duration.zero
        var slowTransfers = Duration.zero
        /// When the daemon's pace was measured last, and what the outages and the delay were.
        var measure: (at: ContinuousClock.Instant, outages: Duration, delay: Duration)?
        /// Batches that move files through the daemon now, the most since the last measurement, and pieces of files since then.
        var transfers = (now: 0, most: 0, pieces: 0)
        /// What its clock showed last, and when.
        var clock: (shown: Timestamp, at: ContinuousClock.Instant)?
        var setBack = SetBack()

        func outages(at now: ContinuousClock.Instant) -> Duration { total + (awaySince.map { now - $0 } ?? .zero) }
    }

    /// A connection that breaks, and is there again at once, means nothing.
    package static let hiccup = Duration.seconds(2)

    /// An answer to a question that costs the daemon nothing comes in a few milliseconds; up to this nobody is slow.
    package static let promptness = Duration.milliseconds(250)

    private let state: Mutex<State>

    package init() { state = Mutex(State(lastAnswer: .now)) }

    /// A call was answered, whatever the answer.
    package func answered(at now: ContinuousClock.Instant = .now) {
        let returned = state.withLock { state -> OneShot<Void>? in
            defer { state.lastAnswer = max(state.lastAnswer, now) }
            guard let since = state.awaySince else { return nil }
            state.total += now - since
            if now - since > Self.hiccup { state.lastReturn = now }
            state.awaySince = nil
            defer { state.nextReturn = OneShot() }
            return state.nextReturn
        }
        returned?.set(())
    }

    /// A call was not answered, `waited` after it was sent.
    package func missed(waited: Duration, because reason: String, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            state.reason = reason
            state.awaySince = state.awaySince ?? max(state.lastAnswer, now - waited)
        }
    }

    /// For how long it has been away now; `nil` when it is there.
    public func awayFor(at now: ContinuousClock.Instant = .now) -> Duration? {
        state.withLock { state in state.awaySince.map { now - $0 } }
    }

    /// How often the daemon's clock was set back, and from when on, by that clock, events since then are dated.
    package struct SetBack: Sendable, Equatable {
        package var count = 0
        package var since = Timestamp(nanoseconds: .max)
    }

    package var setBack: SetBack { state.withLock { $0.setBack } }

    /// The daemon's clock, which tells whole seconds, showed this time.
    package func told(_ time: Timestamp?, at now: ContinuousClock.Instant = .now) {
        guard let time else { return }
        state.withLock { state in
            if let last = state.clock {
                guard now >= last.at else { return }
                if (last.shown + (now - last.at)) - time > Self.unsteady {
                    // A minute for what came before that was noticed.
                    state.setBack = SetBack(count: state.setBack.count + 1, since: time + .seconds(-60))
                }
            }
            state.clock = (time, now)
        }
    }

    /// Clocks that run differ by less, answers that were long on their way included.
    fileprivate static let unsteady = Duration.seconds(15)

    /// What the daemon's clock shows, by the last time that it told.
    package func clock(at now: ContinuousClock.Instant = .now) -> Timestamp? {
        state.withLock { state in state.clock.map { $0.shown + (now - $0.at) } }
    }

    /// Set when it answers again after it did not, however short that was: it may have forgotten what it was told.
    package var nextReturn: OneShot<Void> { state.withLock { $0.nextReturn } }

    /// Why the last call that was not answered was not.
    package var reason: String { state.withLock { $0.reason } }

    /// All the time for which it was away, up to now.
    package func total(at now: ContinuousClock.Instant = .now) -> Duration {
        state.withLock { $0.outages(at: now) }
    }

    /// A question that costs the daemon nothing was answered `delay` after it was due: the time that this program took to
    /// ask and to hear the answer is in it.
    ///
    /// Whatever a provider does for us needs several such answers, one after another: when they take n times as long as
    /// ``promptness``, only one nth of the time since the last measurement was the provider's. Of m machines that move
    /// files at the same time, through this daemon and over this line, each gets one mth of what there is; those that
    /// move nothing do not count while nothing moves.
    package func measured(delay: Duration, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            let outages = state.outages(at: now)
            if let last = state.measure {
                let time = max(.zero, (now - last.at) - (outages - last.outages))
                let share = delay > Self.promptness ? Self.promptness / delay : 1
                let flowing = max(1, min(state.transfers.most, state.transfers.pieces))
                state.slow += time * (1 - share)
                state.slowTransfers += time * (1 - share / Double(flowing))
            }
            state.measure = (now, outages, delay)
            state.transfers = (state.transfers.now, state.transfers.now, 0)
        }
    }

    /// One batch more, or less, moves files.
    package func transferring(_ change: Int) {
        state.withLock { state in
            state.transfers.now += change
            state.transfers.most = max(state.transfers.most, state.transfers.now)
        }
    }

    /// A piece of a file went through the daemon.
    package func movedPiece() { state.withLock { $0.transfers.pieces += 1 } }

    /// What the last measurement found.
    package var delay: Duration { state.withLock { $0.measure?.delay ?? .zero } }

    /// Time up to now that was no provider's: for which the daemon was away, and what its slowness or ours took; of
    /// transfers, what others took that had our daemon and our line at the same time.
    package func timeNotTheirs(ofTransfers: Bool = false, at now: ContinuousClock.Instant = .now) -> Duration {
        state.withLock { $0.outages(at: now) + (ofTransfers ? $0.slowTransfers : $0.slow) }
    }

    /// Whether it is away, or was within that time, for more than a hiccup.
    package func wasAway(within time: Duration, at now: ContinuousClock.Instant = .now) -> Bool {
        state.withLock { state in
            if let since = state.awaySince, now - since > Self.hiccup { return true }
            return state.lastReturn.map { now - $0 < time } ?? false
        }
    }
}

/// From when on events are asked for: what came after the last that was seen, by the clock that dates them. When that is
/// set back, what comes from then on is dated before what was seen; it is asked for again, and told twice at worst. What was
/// dated before then lies in the future, comes again with every answer, and is passed over.
package struct EventTime {
    private var after: Timestamp
    private var setBacks = 0
    /// Once the clock was set back: the latest date seen by the clock as it was.
    private var ahead: Timestamp?

    package init(_ since: Timestamp) {
        after = since
    }

    /// Whether an event has not been seen yet.
    package func isNew(_ date: Timestamp, by watch: DaemonWatch) -> Bool {
        !(isAhead(date, watch) && date <= ahead ?? date)
    }

    /// The events of an answer that have not been seen yet. Where there are only others, the same would be answered again at
    /// once: a moment passes first.
    func new<Event>(of events: [Event], _ date: (Event) -> Timestamp, by watch: DaemonWatch) async -> [Event] {
        let new = events.filter { isNew(date($0), by: watch) }
        if new.isEmpty, !events.isEmpty { try? await Task.sleep(for: .milliseconds(500)) }
        return new
    }

    package mutating func seen(_ date: Timestamp, by watch: DaemonWatch) {
        if isAhead(date, watch) {
            ahead = max(ahead ?? date, date)
        } else {
            after = max(after, date)
        }
    }

    package mutating func next(by watch: DaemonWatch) -> Timestamp {
        let setBack = watch.setBack
        if setBack.count != setBacks {
            setBacks = setBack.count
            ahead = max(ahead ?? after, after)
            after = min(after, setBack.since)
        }
        return after
    }

    private func isAhead(_ date: Timestamp, _ watch: DaemonWatch) -> Bool {
        guard ahead != nil, let clock = watch.clock() else { return false }
        return date > clock + DaemonWatch.unsteady
    }
}

extension GolemClient {
    /// How long the ways to providers take to come back after our own daemon has.
    static let recovery = Duration.seconds(30)

    /// Measures how promptly our own daemon answers, until cancelled.
    func measurePace(every interval: Duration) async {
        while !Task.isCancelled {
            let due = ContinuousClock.now + interval
            // A daemon that does not answer is away, which the call notes.
            guard (try? await Task.sleep(until: due)) != nil, (try? await me()) != nil else { continue }
            watch.measured(delay: ContinuousClock.now - due)
        }
    }

    /// Waits for a time in which our own daemon is there: what it is away does not count, nor what it takes then to find the
    /// providers again; while it is slow, or we are, the time counts in part.
    ///
    /// - Parameter notTheirs: the time that is not waited; ``DaemonWatch/timeNotTheirs(ofTransfers:at:)`` where none is given.
    func waitWhileDaemonAnswers(_ limit: Duration, notTheirs: (@Sendable () -> Duration)? = nil) async throws {
        let start = ContinuousClock.now
        let notTheirs = notTheirs ?? { watch.timeNotTheirs() }
        let before = notTheirs()
        func left() -> Duration { limit - (ContinuousClock.now - start - (notTheirs() - before)) }
        while true {
            let time = left()
            if time > .zero {
                try await Task.sleep(for: time)
            } else if watch.wasAway(within: Self.recovery) {
                try await Task.sleep(for: .milliseconds(300))
                // Nobody else may be asking.
                if watch.awayFor() != nil { _ = try? await call(.GET, "/me", limit: .seconds(5)) }
            } else {
                // Nothing came: because of the provider, or because our daemon hangs, or cannot keep up?
                let asked = ContinuousClock.now
                do {
                    _ = try await call(.GET, "/me", limit: .seconds(5))
                    watch.measured(delay: ContinuousClock.now - asked)
                    if left() <= .zero { return }
                } catch let error as GolemError where error.isOurDaemons {
                    continue
                } catch {
                    try Task.checkCancellation()
                    return
                }
            }
        }
    }
}
