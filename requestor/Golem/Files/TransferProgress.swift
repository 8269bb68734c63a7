import Synchronization

/// How far a transfer is.
public struct TransferProgress: Sendable, Equatable {
    /// Of the file so far: the highest byte that was asked for or came.
    public var bytes: Int
    /// Of the whole file; `nil` for one that comes from a machine, as its size is known only at the end.
    public var totalBytes: Int?
    /// Over the last seconds.
    public var bytesPerSecond: Double

    /// 0 to 1.
    public var fraction: Double? { totalBytes.map { $0 == 0 ? 1 : min(1, Double(bytes) / Double($0)) } }
}

/// Makes ``TransferProgress`` out of what is asked and answered, at most five times a second and once at the end.
final class TransferMeter: Sendable {
    private struct State {
        var bytes = 0
        /// Times and bytes of the last seconds, the oldest first.
        var marks: [(at: ContinuousClock.Instant, bytes: Int)] = []
        var told: ContinuousClock.Instant?
    }

    private static let window = Duration.seconds(5)
    private let total: Int?
    private let tell: @Sendable (TransferProgress) -> Void
    private let state: Mutex<State>

    init(total: Int?, start: ContinuousClock.Instant = .now, _ tell: @Sendable @escaping (TransferProgress) -> Void) {
        self.total = total
        self.tell = tell
        state = Mutex(State(marks: [(start, 0)]))
    }

    /// A part that ends at this byte was asked for, or came.
    func reached(_ end: Int, at now: ContinuousClock.Instant = .now) {
        let progress = state.withLock { state -> TransferProgress? in
            state.bytes = max(state.bytes, total.map { min($0, end) } ?? end)
            let isWhole = state.bytes == total
            if let told = state.told, now - told < .milliseconds(200), !isWhole { return nil }
            state.told = now
            return measure(&state, now)
        }
        if let progress { tell(progress) }
    }

    /// The transfer is done; its size is known now.
    func finished(_ size: Int, at now: ContinuousClock.Instant = .now) {
        let progress = state.withLock { state -> TransferProgress in
            state.bytes = size
            return measure(&state, now)
        }
        tell(TransferProgress(bytes: size, totalBytes: size, bytesPerSecond: progress.bytesPerSecond))
    }

    private func measure(_ state: inout State, _ now: ContinuousClock.Instant) -> TransferProgress {
        state.marks.append((now, state.bytes))
        while state.marks.count > 2, now - state.marks[1].at > Self.window { state.marks.removeFirst() }
        let first = state.marks[0]
        let seconds = (now - first.at).inSeconds
        let rate = seconds > 0 ? Double(state.bytes - first.bytes) / seconds : 0
        return TransferProgress(bytes: state.bytes, totalBytes: total, bytesPerSecond: rate)
    }
}
