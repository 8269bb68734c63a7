import Federation
import Synchronization

/// Keeps `report.html` up to date while a run goes on, so that it can be looked at. Events of hundreds of rounds are not
/// read again and again. The page is not written more than once a second, and a page of thousands of rounds, which takes
/// longer, as much less often that writing it is a twentieth of the time.
final class LiveReport: Sendable {
    private struct State {
        var failures: [String] = []
        /// Not before.
        var next: ContinuousClock.Instant?
    }

    private let folder: RunFolder
    private let state = Mutex(State())

    init(_ folder: RunFolder) { self.folder = folder }

    func handle(_ event: RunEvent) {
        state.withLock { state in
            if let failure = RunReporting.failureLine(event) { state.failures.append(failure) }
            guard case .roundFinished = event.kind else { return }
            let start = ContinuousClock.now
            if let next = state.next, start < next { return }
            // A page that cannot be written now is written at the end, where it is an error.
            try? RunReporting.write(folder, failures: state.failures)
            let end = ContinuousClock.now
            state.next = end + max(.seconds(1), (end - start) * 20)
        }
    }
}
