import Federation
import Synchronization
import TensorBoard

/// Keeps `tensorboard/` of a run up to date while it goes on: a reader of its feed like any other.
struct TensorBoardObserver: Sendable {
    private let observation: RunObservation

    init(_ feed: RunFeed, _ folder: RunFolder) {
        let log = SharedLog(folder: folder.tensorBoard)
        observation = feed.observe(from: .beginning) { try log.handle($0) }
    }

    /// Waits until everything of a run that has ended is written, and gives up on a disk that does not move.
    /// - Returns: what is to be said where the curves could not be written, which is no reason for a run to fail.
    func finish() async -> String? {
        guard await observation.finished() else {
            observation.stop()
            return "the curves for TensorBoard are not complete: the disk does not move"
        }
        return observation.error.map { "the curves for TensorBoard are not complete: \($0)" }
    }
}

/// Told one event at a time; the lock says so to the compiler.
private final class SharedLog: Sendable {
    private let log: Mutex<TensorBoardLog>

    init(folder: String) { log = Mutex(TensorBoardLog(folder: folder)) }

    func handle(_ event: RunEvent) throws { try log.withLock { try $0.handle(event) } }
}
