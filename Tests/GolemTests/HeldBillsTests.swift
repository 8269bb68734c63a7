import Golem
import Testing

@Suite("Bills that wait for a verdict")
struct HeldBillsTests {
    private func time(_ seconds: Double) -> Timestamp { Timestamp(nanoseconds: Int64(seconds * 1e9)) }

    @Test("a bill waits while work is looked at, a debit note no longer than its patience")
    func waiting() throws {
        let (a, b): (NodeID, NodeID) = ("0x1", "0x2")
        let note = HeldBills.Bill.note(try Bills.note("n", "act", "g", 1))
        let invoice = HeldBills.Bill.invoice(try Bills.invoice("i", "g", 1))
        var held = HeldBills()
        var kept = [held.keep(note, of: a, at: time(0))]
        held.hold(a, patience: .seconds(5))
        held.hold(a, patience: .seconds(5))
        kept += [held.keep(note, of: a, at: time(1)), held.keep(invoice, of: a, at: time(1))]
        kept.append(held.keep(note, of: b, at: time(1)))
        #expect(kept == [false, true, true, false])
        let overdue = [held.overdue(at: time(5)), held.overdue(at: time(6)), held.overdue(at: time(60))]
        #expect(overdue == [[], [note], []])
        // Two works are looked at: the first verdict is not the last.
        let released = [held.release(b), held.release(a), held.release(a), held.release(a)]
        #expect(released == [[], [], [invoice], []])
        let isKept = held.keep(note, of: a, at: time(61))
        #expect(!isKept)
    }

    @Test("a provider that is left is not hired again, and what runs there ends")
    func leftProvider() throws {
        let now = Timestamp(nanoseconds: 0)
        var pool = PoolStateMachine(settings: .init(target: 2))
        let (bad, good): (NodeID, NodeID) = ("0x1", "0x2")
        for (index, provider) in [bad, good].enumerated() {
            _ = pool.offerCame(
                try #require(ProposalID("offer-\(index)")), from: provider, name: "p\(index)", score: 1, objection: nil,
                at: now)
        }
        _ = pool.clockTicked(now + .seconds(1))
        #expect(pool.rentals.count == 2)
        let actions = pool.providerLeft(bad, reason: "it lied", at: now + .seconds(2))
        #expect(actions.first == .leaveProvider(bad, reason: "it lied", until: nil))
        let closed = actions.compactMap { action -> Bool? in
            if case .closeRental(_, _, "it lied", let blame) = action { blame } else { nil }
        }
        #expect(closed == [true])
        let again = pool.offerCame(
            try #require(ProposalID("offer-3")), from: bad, name: "p0", score: 0.1, objection: nil,
            at: now + .seconds(3))
        guard again.first == .forget(try #require(ProposalID("offer-3"))) else {
            Issue.record("it was hired again: \(again)")
            return
        }
        #expect(pool.providerLeft(bad, reason: "again", at: now + .seconds(4)).isEmpty)
    }
}
