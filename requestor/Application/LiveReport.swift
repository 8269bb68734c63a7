import Federation
import Synchronization

/// Keeps `report.html` up to date while a run goes on, so that it can be looked at. Events of hundreds of rounds are not
/// read again and again, and the page is not written more than once a second.
final class LiveReport: Sendable {
    private struct State {
        var failures: [String] = []
        var written: ContinuousClock.Instant?
    }

    private let folder: RunFolder
    private let state = Mutex(State())

    init(_ folder: RunFolder) { self.folder = folder }

    func handle(_ event: RunEvent) {
        state.withLock { state in
            if let failure = RunReporting.failureLine(event) { state.failures.append(failure) }
            guard case .roundFinished = event.kind else { return }
            if let written = state.written, ContinuousClock.now - written < .seconds(1) { return }
            // A page that cannot be written now is written at the end, where it is an error.
            try? RunReporting.write(folder, failures: state.failures)
            state.written = .now
        }
    }
}
