import Foundation
import Synchronization
import Tensors

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The events of a run: one writer, the run, and any number of readers, none of which can slow or break it.
///
/// ```
///  run ──▶ events.jsonl ──▶ reader that starts in the middle, or was too slow for its buffer
///     └──▶ buffer ──▶ reader that keeps up
/// ```
///
/// The journal is the truth: an event is written there first, then put into the bounded buffer of every reader. A reader
/// whose buffer is full costs nothing more until it comes back; it then finds what it has missed in the journal. So every
/// reader sees every event, in order, whatever its speed, and writing an event takes no longer for a reader that sleeps.
public final class RunFeed: Sendable {
    /// Where a reader begins.
    public enum Start: Sendable, Equatable {
        /// With the first event the journal has, also of earlier parts of a run that was resumed.
        case beginning
        /// With the first event of this process.
        case session
        /// With what happens from now on.
        case now
        case after(JournalPosition)
    }

    struct Subscriber {
        /// Where the reader begins, as long as the journal is not open.
        var start: Start?
        /// What the reader has been given already ends here.
        var position = JournalPosition.beginning
        var entries: [JournalEntry] = []
        let capacity: Int
        /// Events after `entries` are in the journal only.
        var isBehind = false
        /// Tells the reader to look.
        let wake: AsyncStream<Void>.Continuation
    }

    private struct State {
        var file: Int32 = -1
        /// Where this process's events begin; nil until the journal is open.
        var opening: JournalPosition?
        /// Where they end by now.
        var end = JournalPosition.beginning
        var failure: DeMLError?
        var isEnded = false
        var subscribers: [Int: Subscriber] = [:]
        var subscriptions = 0
    }

    let path: String
    private let now: @Sendable () -> Date
    private let state = Mutex(State())

    /// The feed of the run in `folder`, before the run begins. Readers may subscribe at once.
    public init(folder: RunFolder, now: @escaping @Sendable () -> Date = { Date() }) {
        path = folder.events
        self.now = now
    }

    deinit {
        state.withLock { if $0.file >= 0 { close($0.file) } }
    }

    // MARK: For the run

    /// Opens the journal, and takes away the part of a line that a killed process may have left at its end: the next
    /// event would be added to it and both would be lost.
    package func open() throws(DeMLError) {
        let file = systemOpen(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC)
        guard file >= 0 else { throw failure("it cannot be written", errno) }
        var size = lseek(file, 0, SEEK_END)
        do throws(DeMLError) {
            let whole = try lengthOfWholeLines(file, size)
            if whole < size {
                guard ftruncate(file, whole) == 0 else { throw failure("it cannot be shortened", errno) }
                size = whole
            }
        } catch {
            close(file)
            throw error
        }
        state.withLock { state in
            state.file = file
            let opening = JournalPosition(bytes: Int(size))
            state.opening = opening
            state.end = opening
            for id in state.subscribers.keys {
                guard let start = state.subscribers[id]?.start else { continue }
                state.subscribers[id]?.begin(start == .now ? .session : start, opening: opening, end: opening)
                state.subscribers[id]?.wake.yield()
            }
        }
    }

    /// Writes an event, and puts it before every reader that keeps up. Never waits for one.
    package func record(_ kind: RunEvent.Kind) {
        state.withLock { state in
            let event = RunEvent(time: now(), kind)
            if state.failure == nil {
                do {
                    let line = try RunJSON.encodeLine(event)
                    try write(line, to: state.file)
                    state.end.bytes += line.count
                } catch {
                    state.failure =
                        error as? DeMLError ?? DeMLError(.internal, "an event cannot be written as JSON", cause: error)
                }
            }
            let entry = JournalEntry(event: event, position: state.end)
            for id in state.subscribers.keys {
                if state.subscribers[id]?.take(entry) == true { state.subscribers[id]?.wake.yield() }
            }
        }
    }

    /// Throws what went wrong in writing, which must not go unnoticed, though no event can wait for it.
    package func check() throws(DeMLError) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    /// No event comes any more: readers end when they have read all.
    package func finish() {
        state.withLock { state in
            state.isEnded = true
            for subscriber in state.subscribers.values { subscriber.wake.yield() }
        }
    }

    // MARK: For readers

    /// The events from `start` on, then live, until the run has ended.
    ///
    /// ```swift
    /// for try await entry in feed.subscribe(from: .beginning) { show(entry.event) }
    /// ```
    ///
    /// - Parameter buffer: events that wait in memory for this reader; more are read from the journal when it comes back.
    public func subscribe(from start: Start = .session, buffer: Int = 1024) -> RunSubscription {
        let (wakes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state in
            var subscriber = Subscriber(start: start, capacity: max(1, buffer), wake: wake)
            if let opening = state.opening { subscriber.begin(start, opening: opening, end: state.end) }
            state.subscriptions += 1
            state.subscribers[state.subscriptions] = subscriber
            return state.subscriptions
        }
        // The reader is to look at once: a run that has ended wakes nobody any more.
        wake.yield()
        return RunSubscription(feed: self, id: id, wakes: wakes)
    }

    /// What there is for a reader now.
    enum Supply {
        case entries([JournalEntry])
        /// Read the journal from here; at least up to `end` there are events.
        case journal(after: JournalPosition, end: JournalPosition)
        case none
        case ended
    }

    func supply(_ id: Int) -> Supply {
        state.withLock { state in
            guard var subscriber = state.subscribers[id] else { return .ended }
            if let last = subscriber.entries.last {
                let entries = subscriber.entries
                subscriber.entries = []
                subscriber.position = last.position
                state.subscribers[id] = subscriber
                return .entries(entries)
            }
            if subscriber.isBehind { return .journal(after: subscriber.position, end: state.end) }
            return state.isEnded ? .ended : .none
        }
    }

    /// The reader has read the journal up to `position`; where that is the end, it is given events as they come.
    /// - Returns: whether it is.
    func hasRead(_ id: Int, upTo position: JournalPosition) -> Bool {
        state.withLock { state in
            state.subscribers[id]?.position = position
            guard position >= state.end else { return false }
            state.subscribers[id]?.isBehind = false
            return true
        }
    }

    func unsubscribe(_ id: Int) {
        _ = state.withLock { $0.subscribers.removeValue(forKey: id) }
    }

    // MARK: The file

    private func write(_ line: [UInt8], to file: Int32) throws(DeMLError) {
        var written = 0
        while written < line.count {
            let put = line.withUnsafeBytes { systemWrite(file, $0.baseAddress, written, line.count) }
            if put < 0 {
                if errno == EINTR { continue }
                throw failure("it cannot be written", errno)
            }
            written += put
        }
    }

    /// Bytes up to and with the last newline.
    private func lengthOfWholeLines(_ file: Int32, _ size: off_t) throws(DeMLError) -> off_t {
        var end = size
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while end > 0 {
            let start = max(0, end - off_t(buffer.count))
            let count = pread(file, &buffer, Int(end - start), start)
            if count < 0, errno == EINTR { continue }
            guard count == Int(end - start) else { throw failure("it cannot be read", errno) }
            if let newline = buffer[..<count].lastIndex(of: UInt8(ascii: "\n")) { return start + off_t(newline) + 1 }
            end = start
        }
        return 0
    }

    private func failure(_ what: String, _ number: Int32) -> DeMLError {
        let code: DeMLError.Code =
            switch number {
            case ENOSPC, EDQUOT: .diskFull
            case EACCES, EPERM, EROFS, ENOENT, ENOTDIR: .cannotCreate
            default: .io
            }
        return DeMLError(code, "\(what): \(String(cString: strerror(number)))", place: path)
    }
}

extension RunFeed.Subscriber {
    mutating func begin(_ start: RunFeed.Start, opening: JournalPosition, end: JournalPosition) {
        self.start = nil
        position =
            switch start {
            case .beginning: .beginning
            case .session: opening
            case .now: end
            case .after(let position): min(position, end)
            }
        isBehind = position < end
    }

    /// - Returns: whether the reader has something new to look at.
    mutating func take(_ entry: JournalEntry) -> Bool {
        if isBehind { return false }
        guard entries.count < capacity else {
            isBehind = true
            return false
        }
        entries.append(entry)
        return true
    }
}

// `open` and `write` are names of the type above too.
private func systemOpen(_ path: String, _ flags: Int32) -> Int32 { open(path, flags, 0o666) }
private func systemWrite(_ file: Int32, _ bytes: UnsafeRawPointer?, _ start: Int, _ end: Int) -> Int {
    write(file, bytes.map { $0 + start }, end - start)
}
