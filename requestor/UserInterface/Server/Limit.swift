import Synchronization

/// So many of something at a time: one more is refused, not kept waiting.
final class Limit: Sendable {
    private let most: Int
    private let words: @Sendable (Int) -> String
    private let count = Mutex(0)

    /// - Parameter words: what is said to who comes too late, with the number.
    init(_ most: Int, words: @escaping @Sendable (Int) -> String) {
        self.most = most
        self.words = words
    }

    func enter() throws {
        try count.withLock {
            guard $0 < most else {
                throw PageError(.serviceUnavailable, words($0), hint: "close some of them")
            }
            $0 += 1
        }
    }

    func leave() { count.withLock { $0 -= 1 } }
}
