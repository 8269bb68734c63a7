import Tensors

/// The events of a run that any process works on, or worked on: read from its journal, then followed as it grows, until no
/// process holds the run any more. Takes no lock and changes nothing, so any number may follow.
public struct RunFollower: AsyncSequence, Sendable {
    public typealias Element = JournalEntry

    private let folder: RunFolder
    private let start: JournalPosition
    private let interval: Duration

    /// - Parameters:
    ///   - start: ``JournalPosition/beginning``, or where an earlier reader has stopped.
    ///   - interval: how often the file is looked at when nothing new was in it.
    public init(
        _ folder: RunFolder, after start: JournalPosition = .beginning, every interval: Duration = .milliseconds(250)
    ) {
        self.folder = folder
        self.start = start
        self.interval = interval
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(folder: folder, interval: interval, reader: JournalReader(path: folder.events, after: start))
    }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let folder: RunFolder
        fileprivate let interval: Duration
        fileprivate let reader: JournalReader
        private var pending: ArraySlice<JournalEntry> = []

        fileprivate init(folder: RunFolder, interval: Duration, reader: JournalReader) {
            self.folder = folder
            self.interval = interval
            self.reader = reader
        }

        public mutating func next() async throws -> JournalEntry? {
            while !Task.isCancelled {
                if let entry = pending.popFirst() { return entry }
                // Asked before reading: what is written before the lock is given back is seen.
                let isAtWork = folder.isAtWork
                pending = try reader.read()[...]
                guard pending.isEmpty else { continue }
                guard isAtWork else { return nil }
                try? await Task.sleep(for: interval)
            }
            return nil
        }
    }
}
