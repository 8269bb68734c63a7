import Waiting

/// Places to work at, handed out one by one: who comes when all are taken waits in line.
package struct SlotPool: Sendable {
    private struct Slots: WaitedResource {
        var free: Set<Int>
        var waiting: [(ticket: WaitTicket, avoiding: Set<Int>)] = []

        mutating func requested(_ ticket: WaitTicket, _ avoiding: Set<Int>) -> [WaitAnswer<Int>] {
            guard let slot = free.subtracting(avoiding).min() else {
                waiting.append((ticket, avoiding))
                return []
            }
            free.remove(slot)
            return [WaitAnswer(ticket, .success(slot))]
        }

        mutating func withdrawn(_ ticket: WaitTicket) -> [WaitAnswer<Int>] {
            waiting.removeAll { $0.ticket == ticket }
            return []
        }

        /// To the first in line who may have it.
        mutating func returned(_ slot: Int) -> [WaitAnswer<Int>] {
            guard let index = waiting.firstIndex(where: { !$0.avoiding.contains(slot) }) else {
                free.insert(slot)
                return []
            }
            return [WaitAnswer(waiting.remove(at: index).ticket, .success(slot))]
        }
    }

    package let count: Int
    private let queue: WaitQueue<Slots>

    /// Slots `0..<count`.
    package init(count: Int) {
        self.count = count
        queue = WaitQueue(Slots(free: Set(0..<count)))
    }

    /// A slot that is not in `avoiding`, and any slot when all are in it. Waits until there is one; throws
    /// `CancellationError` when the task is cancelled first.
    package func acquire(avoiding: Set<Int> = []) async throws -> Int {
        try await queue.wait(for: avoiding.count < count ? avoiding : [])
    }

    package func release(_ slot: Int) { queue.update { $0.returned(slot) } }
}
