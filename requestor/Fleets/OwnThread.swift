import Foundation
import Synchronization

/// Runs a long computation on a thread of its own, because the few threads of the concurrency pool must stay free for
/// everything that waits. Does not return before the computation has: it is to look at a ``StopFlag``.
package func onOwnThread<Value: Sendable>(
    named name: String, _ compute: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread { continuation.resume(with: Result { try compute() }) }
        thread.name = name
        thread.stackSize = 8 << 20
        thread.start()
    }
}

/// Something that several threads may raise and look at, and nobody takes down.
package final class StopFlag: Sendable {
    private let isRaised = Atomic(false)

    package init() {}

    package func raise() { isRaised.store(true, ordering: .releasing) }
    package var isUp: Bool { isRaised.load(ordering: .acquiring) }
}
