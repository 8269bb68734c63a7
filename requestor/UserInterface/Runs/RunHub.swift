import Federation
import Foundation
import Synchronization
import Tensors

/// One reader of a run's journal for all pages that look at it. It reads only while somebody looks, and takes no lock of the
/// run: the run never knows.
final class RunHub: Sendable {
    private struct State {
        var run = LiveRun()
        var position = JournalPosition.beginning
        var atWork = false
        var catchingUp = true
        var failure: DeMLError?
        var readers: [Int: AsyncStream<Void>.Continuation] = [:]
        var count = 0
        var isReading = false
        /// What was last encoded, for the many who know the same.
        var encoded: (since: Int, change: Int, atWork: Bool, restarts: Int, bytes: [UInt8])?
    }

    private let folder: RunFolder
    private let state = Mutex(State())

    init(_ folder: RunFolder) { self.folder = folder }

    /// What one page knows of the run.
    struct Knowledge {
        var change = 0
        var round = -1
        var restarts = 0
        var atWork: Bool?
        var catchingUp: Bool?
    }

    /// Wakes whenever there may be something new; at least every ten seconds, so that a reader that has gone is noticed.
    func look() -> (id: Int, wakes: AsyncStream<Void>) {
        let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (id, mustRead) = state.withLock { state in
            state.count += 1
            state.readers[state.count] = wake
            defer { state.isReading = true }
            // What was wrong may be mended.
            if !state.isReading { state.failure = nil }
            return (state.count, !state.isReading)
        }
        wake.yield()
        if mustRead { Task(priority: .utility) { [self] in await read() } }
        return (id, wakes)
    }

    func leave(_ id: Int) { _ = state.withLock { $0.readers.removeValue(forKey: id) } }

    /// What is new, encoded; nil where nothing is.
    func news(for knowledge: inout Knowledge) throws -> [UInt8]? {
        let (update, bytes, restarts) = try state.withLock { state -> (RunUpdate?, [UInt8]?, Int) in
            if let failure = state.failure { throw failure }
            let isSame =
                knowledge.change == state.run.change && knowledge.atWork == state.atWork
                && knowledge.catchingUp == state.catchingUp
            if isSame { return (nil, nil, state.run.restarts) }
            let update = RunUpdate(
                state.run, since: knowledge.change, restarts: knowledge.restarts, atWork: state.atWork,
                catchingUp: state.catchingUp, roundKnown: knowledge.round)
            if let encoded = state.encoded, encoded.since == knowledge.change, encoded.change == state.run.change,
                encoded.atWork == state.atWork, encoded.restarts == knowledge.restarts
            {
                return (update, encoded.bytes, state.run.restarts)
            }
            return (update, nil, state.run.restarts)
        }
        guard let update else { return nil }
        let line = try bytes ?? RunJSON.encodeLine(update)
        if bytes == nil {
            let (since, atWork, known) = (knowledge.change, update.atWork, knowledge.restarts)
            state.withLock { $0.encoded = (since, update.change, atWork, known, line) }
        }
        knowledge.change = update.change
        knowledge.restarts = restarts
        knowledge.round = max(update.whole ? -1 : knowledge.round, update.rounds.last?.metrics.round ?? -1)
        knowledge.atWork = update.atWork
        knowledge.catchingUp = update.catchingUp
        return line
    }

    /// Whether a line says what somebody is just doing.
    private static func isPassing(_ line: ArraySlice<UInt8>) -> Bool {
        passing.contains { line.firstRange(of: $0) != nil }
    }

    private static let passing = ["attempt_started", "attempt_stage", "epoch_finished"].map {
        Array("\"event\":\"\($0)\"".utf8)
    }

    /// Reads the journal as long as somebody looks.
    private func read() async {
        let reader = JournalReader(path: folder.events, after: state.withLock { $0.position })
        if reader.position == .beginning, let metrics = try? folder.readMetrics() {
            state.withLock { $0.run.seed(metrics) }
        }
        var published = ContinuousClock.now - .seconds(60)
        var isNew = true
        while true {
            let atWork = folder.isAtWork
            do throws(DeMLError) {
                let before = reader.position
                // Of the past it is of no interest who was at what.
                let isPast = (Files.size(of: folder.events) ?? 0) - before.bytes > 1 << 20
                let isSkipped: ((ArraySlice<UInt8>) -> Bool)? = isPast ? { Self.isPassing($0) } : nil
                let entries = try reader.read(skipping: isSkipped)
                let isAtEnd = reader.position == before
                let goOn = state.withLock { state -> Bool in
                    for entry in entries { state.run.take(entry.event) }
                    state.position = reader.position
                    let wasCatchingUp = state.catchingUp
                    if isAtEnd, state.catchingUp {
                        state.catchingUp = false
                        state.run.caughtUp()
                    }
                    isNew = isNew || !entries.isEmpty || state.atWork != atWork || wasCatchingUp != state.catchingUp
                    state.atWork = atWork
                    if state.readers.isEmpty {
                        state.isReading = false
                        return false
                    }
                    let age = ContinuousClock.now - published
                    if isNew && (age > .milliseconds(200) || isAtEnd) || age > .seconds(10) {
                        published = .now
                        isNew = false
                        for wake in state.readers.values { wake.yield() }
                    }
                    return true
                }
                guard goOn else { return }
                if isAtEnd { try? await Task.sleep(for: .milliseconds(atWork ? 200 : 500)) }
            } catch {
                let failure = error
                state.withLock { state in
                    state.failure = failure
                    state.isReading = false
                    for wake in state.readers.values { wake.yield() }
                }
                return
            }
        }
    }
}
