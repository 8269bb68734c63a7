import Dispatch
import Foundation
import Synchronization

/// The first SIGINT or SIGTERM cancels what is running, the second leaves at once.
public enum Interrupts {
    /// 128 + SIGINT, what shells give for a program ended by Ctrl-C.
    public static let exitCode: Int32 = 130

    /// Runs `operation`; the first signal calls `onFirst` (to tell the user) and cancels it, the second ends the process
    /// with `exitCode`, whatever is still going on. Afterwards the signals have their usual meaning again.
    public static func cancellingOnSignals<Result: Sendable>(
        onFirst: @escaping @Sendable () -> Void, _ operation: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let (signals, continuation) = AsyncStream<Void>.makeStream()
        let received = Counter()
        let queue = DispatchQueue(label: "deml.signals")
        let sources = [SIGINT, SIGTERM].map { number in
            // A dispatch source sees the signal only when its default action, to end the process, is off.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                guard received.next() == 1 else { _exit(exitCode) }
                onFirst()
                continuation.yield()
            }
            source.resume()
            return source
        }
        defer {
            for source in sources { source.cancel() }
            signal(SIGINT, SIG_DFL)
            signal(SIGTERM, SIG_DFL)
        }
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await operation() }
            group.addTask {
                for await _ in signals { break }
                return nil
            }
            while let next = try await group.next() {
                if let result = next {
                    group.cancelAll()
                    return result
                }
                group.cancelAll()
            }
            throw CancellationError()
        }
    }

    private final class Counter: Sendable {
        private let value = Mutex(0)

        func next() -> Int {
            value.withLock {
                $0 += 1
                return $0
            }
        }
    }
}
