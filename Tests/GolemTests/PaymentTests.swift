import Foundation
import Golem
import Testing

/// Bills as the daemon would report them.
enum Bills {
    static func note(
        _ id: DebitNoteID, _ activity: ActivityID, _ agreement: AgreementID, _ due: Amount, usage: [Double]? = nil,
        status: String = "RECEIVED", platform: String = "erc20-hoodi-tglm"
    ) throws -> DebitNote {
        var json: [String: JSON] = [
            "debitNoteId": .string(id.rawValue), "activityId": .string(activity.rawValue),
            "agreementId": .string(agreement.rawValue),
            "totalAmountDue": .string(due.description), "status": .string(status),
            "paymentPlatform": .string(platform),
        ]
        json["usageCounterVector"] = usage.map { .array($0.map { JSON($0) }) }
        return try DebitNote(.object(json))
    }

    static func invoice(
        _ id: InvoiceID, _ agreement: AgreementID, _ amount: Amount, status: String = "RECEIVED",
        platform: String = "erc20-hoodi-tglm"
    ) throws -> Invoice {
        try Invoice([
            "invoiceId": .string(id.rawValue), "agreementId": .string(agreement.rawValue),
            "amount": .string(amount.description), "status": .string(status), "paymentPlatform": .string(platform),
        ])
    }
}

private func time(_ seconds: Double) -> Timestamp { Timestamp(nanoseconds: Int64(seconds * 1e9)) }

@Suite("What is paid")
struct PaymentTests {
    private static func contract(perSecond: Double = 0.001, perCPU: Double = 0, threads: Int = 2) -> Contract {
        Contract(
            providerID: "0x1", providerName: "p",
            price: LinearPrice(perSecond: perSecond, perCPUSecond: perCPU, start: 0), threads: threads)
    }

    private func machine(budget: Amount = 1, contract: Contract = PaymentTests.contract()) -> PaymentStateMachine {
        var machine = PaymentStateMachine(budget: budget)
        _ = machine.agreementMade("g", contract, at: time(0))
        _ = machine.activityStarted("a", under: "g", at: time(0))
        return machine
    }

    @Test("a note and an invoice by price and clock are recorded, then accepted")
    func honest() throws {
        var machine = machine()
        let due = Amount("0.01")!
        #expect(
            try machine.debitNoteReceived(Bills.note("n", "a", "g", due, usage: [10, 0]), at: time(10)) == [
                .record(.acceptingNote("n", "a", "g", due)), .acceptDebitNote("n", due),
            ])
        #expect(machine.acceptanceTaken("n").first == .record(.accepted("n")))
        _ = machine.agreementEnded("g", at: time(20))
        let amount = Amount("0.02")!
        #expect(
            try machine.invoiceReceived(Bills.invoice("i", "g", amount), at: time(25)) == [
                .record(.acceptingInvoice("i", "g", amount)), .acceptInvoice("i", amount),
            ])
        _ = machine.acceptanceTaken("i")
        #expect(machine.promised == amount)
        #expect(try machine.invoiceReceived(Bills.invoice("i", "g", amount), at: time(26)).isEmpty)
        #expect(machine.expenses(run: "r", now: time(30)).first?.state == .accepted)
    }

    @Test("five times the price ends the agreement, and its invoice is rejected")
    func overbilling() throws {
        var machine = machine()
        let actions = try machine.debitNoteReceived(
            Bills.note("n", "a", "g", Amount("0.05")!, usage: [10, 0]), at: time(10))
        #expect(actions.contains { if case .endAgreement("g", _, _) = $0 { true } else { false } })
        #expect(!actions.contains { if case .acceptDebitNote = $0 { true } else { false } })
        let answer = try machine.invoiceReceived(Bills.invoice("i", "g", Amount("0.06")!), at: time(12))
        #expect(answer.contains { if case .rejectInvoice("i", .incorrectAmount, _) = $0 { true } else { false } })
        #expect(machine.promised == .zero)
        let expense = try #require(machine.expenses(run: "r", now: time(12)).first)
        #expect(expense.state == .rejected && expense.reason?.contains("0.06") == true)
    }

    @Test("a bill above what the provider itself reports as used is refused, although the clock would allow it")
    func ownUsage() throws {
        var machine = machine(contract: Self.contract(perSecond: 0.001, perCPU: 0.002))
        let actions = try machine.debitNoteReceived(
            Bills.note("n", "a", "g", Amount("0.05")!, usage: [10, 0]), at: time(10))
        #expect(!actions.contains { if case .acceptDebitNote = $0 { true } else { false } })
    }

    @Test("processor time is bounded by what was reported, and by the threads there are")
    func processorTime() throws {
        let contract = Self.contract(perSecond: 0, perCPU: 0.001, threads: 4)
        var machine = machine(contract: contract)
        machine.usageReported([100, 5], by: "a", under: "g", at: time(100))
        _ = machine.activityEnded("a", under: "g", at: time(100))
        #expect(
            try machine.invoiceReceived(Bills.invoice("i", "g", Amount("0.02")!), at: time(100)).contains {
                if case .rejectInvoice = $0 { true } else { false }
            })
        var other = self.machine(contract: contract)
        _ = other.activityEnded("a", under: "g", at: time(100))
        #expect(try other.invoiceReceived(Bills.invoice("i", "g", Amount("0.39")!), at: time(100)).count == 3)
    }

    @Test("work that was of no use is not paid; nothing is paid for nothing")
    func unusable() throws {
        var machine = machine()
        _ = machine.workUnusable("g", reason: "its results differ")
        let answer = try machine.invoiceReceived(Bills.invoice("i", "g", Amount("0.001")!), at: time(10))
        #expect(answer.contains { if case .rejectInvoice("i", .badService, _) = $0 { true } else { false } })
        var other = self.machine()
        #expect(
            try other.invoiceReceived(Bills.invoice("i", "g", .zero), at: time(1)).contains(.acceptInvoice("i", .zero)))
    }

    @Test("an activity whose answer was lost is paid by price and time since it was asked for, and no other")
    func unnamed() throws {
        var machine = PaymentStateMachine(budget: 1)
        _ = machine.agreementMade("g", Self.contract(), at: time(0))
        #expect(machine.activityAsked(under: "g", at: time(10)) == [.record(.activityAsked("g", at: time(10)))])
        let due = Amount("0.005")!
        var ended = machine
        _ = ended.agreementEnded("g", at: time(15))
        // Before the agreement's end and behind it, by a note or by the invoice alone.
        for machine in [machine, ended] {
            var noted = machine
            #expect(
                try noted.debitNoteReceived(Bills.note("n", "lost", "g", due), at: time(15)) == [
                    .record(.activity("lost", "g", at: time(10))),
                    .record(.acceptingNote("n", "lost", "g", due)), .acceptDebitNote("n", due),
                ])
            #expect(noted.activityStarted("lost", under: "g", at: time(10)).isEmpty, "its answer came late")
            let second = try noted.debitNoteReceived(Bills.note("m", "other", "g", due), at: time(15))
            #expect(
                second.contains { if case .endAgreement = $0 { true } else { false } }, "one was asked for, not two")
            var billed = machine
            #expect(
                try billed.invoiceReceived(Bills.invoice("i", "g", due), at: time(15)).contains(
                    .acceptInvoice("i", due)))
            var dear = machine
            let answer = try dear.invoiceReceived(Bills.invoice("i", "g", Amount("0.02")!), at: time(15))
            #expect(answer.contains { if case .rejectInvoice = $0 { true } else { false } })
        }
        // The clock of what was asked for stops with the agreement.
        #expect(
            try !ended.invoiceReceived(Bills.invoice("i", "g", Amount("0.02")!), at: time(100)).contains(
                .acceptInvoice("i", Amount("0.02")!)))
        // What is known not to have started may not be billed.
        #expect(machine.activityNotStarted(under: "g", askedAt: time(10)).count == 1)
        #expect(
            try machine.debitNoteReceived(Bills.note("n", "lost", "g", due), at: time(15)).contains {
                if case .endAgreement = $0 { true } else { false }
            })
    }

    @Test(
        "a bill that nobody can pay is refused as one that is too high",
        arguments: ["1e40", "-", "0.0000000000000000001"])
    func unreadable(amount: String) throws {
        let note = try DebitNote([
            "debitNoteId": "n", "activityId": "a", "agreementId": "g", "totalAmountDue": .string(amount),
            "status": "RECEIVED",
        ])
        var machine = machine()
        let actions = machine.debitNoteReceived(note, at: time(10))
        #expect(
            actions.contains { if case .endAgreement("g", _, let why) = $0 { why.contains(amount) } else { false } })
        let invoice = try Invoice([
            "invoiceId": "i", "agreementId": "g", "amount": .string(amount), "status": "RECEIVED",
            "activityIds": ["../../me"],
        ])
        let answer = machine.invoiceReceived(invoice, at: time(12))
        #expect(
            answer.contains {
                if case .rejectInvoice("i", .incorrectAmount, let why) = $0 { why.contains(amount) } else { false }
            })
        #expect(machine.promised == .zero)
        #expect(machine.expenses(run: "r", now: time(12)).first?.state == .rejected)
    }

    @Test("nothing is paid on another platform than the agreed one")
    func otherPlatform() throws {
        var machine = PaymentStateMachine(
            budget: 1,
            replaying: [
                .opened(run: "r", budget: 1, platform: "erc20-hoodi-tglm", at: time(0)),
                .agreement("g", Self.contract(), at: time(0)), .activity("a", "g", at: time(0)),
            ])
        let note = try machine.debitNoteReceived(
            Bills.note("n", "a", "g", Amount("0.001")!, platform: "erc20-polygon-glm"), at: time(10))
        #expect(note.contains { if case .endAgreement("g", _, _) = $0 { true } else { false } })
        let answer = try machine.invoiceReceived(
            Bills.invoice("i", "g", Amount("0.001")!, platform: "erc20-polygon-glm"), at: time(12))
        #expect(answer.contains { if case .rejectInvoice = $0 { true } else { false } })
        let right = try machine.invoiceReceived(Bills.invoice("j", "g", .zero, platform: ""), at: time(12))
        #expect(right.isEmpty, "one invoice is enough")
    }

    @Test("a last debit note is judged by its own usage, not by an older report that overtook it")
    func overtaken() throws {
        var machine = machine(contract: Self.contract(perSecond: 0, perCPU: 0.001, threads: 2))
        // What the provider had counted at 80 s, asked for at 100 s.
        machine.usageReported([80, 150], by: "a", under: "g", at: time(100))
        _ = machine.activityEnded("a", under: "g", at: time(100))
        let due = Amount("0.195")!
        #expect(
            try machine.debitNoteReceived(Bills.note("n", "a", "g", due, usage: [100, 195]), at: time(101))
                .contains(.acceptDebitNote("n", due)))
        #expect(
            try machine.invoiceReceived(Bills.invoice("i", "g", due), at: time(101)).contains(.acceptInvoice("i", due)))
    }

    @Test("an agreement that never came about is over, and no bill of it is waited for or paid")
    func refusedAgreement() throws {
        var machine = PaymentStateMachine(budget: 1)
        var ledger = machine.agreementMade("g", Self.contract(), at: time(0))
        ledger += machine.agreementRefused("g", at: time(1))
        let entries = ledger.compactMap { if case .record(let entry) = $0 { entry } else { nil } }
        for var machine in [machine, PaymentStateMachine(budget: 1, replaying: entries)] {
            #expect(machine.openAgreements.isEmpty && machine.awaitedInvoices.isEmpty)
            #expect(machine.expenses(run: "r", now: time(2)).isEmpty)
            let answer = try machine.invoiceReceived(Bills.invoice("i", "g", Amount("0.001")!), at: time(2))
            #expect(answer.contains { if case .rejectInvoice = $0 { true } else { false } })
        }
    }

    @Test("clocks that differ are told, and events are asked for by the daemon's")
    func clocks() {
        let behind = ClockDifference(daemon: time(1000), asked: time(1090), answered: time(1091))
        #expect(behind.seconds == -90 && behind.eventsBegin == time(940))
        #expect(behind.warning?.contains("90 s behind ours") == true)
        let ahead = ClockDifference(daemon: time(1000), asked: time(900), answered: time(901))
        #expect(ahead.warning?.contains("99 s ahead of ours") == true)
        #expect(ClockDifference(daemon: time(1000.5), asked: time(1000), answered: time(1001)).warning == nil)
        let unknown = ClockDifference(daemon: nil, asked: time(1), answered: time(2))
        #expect(unknown.warning == nil && unknown.eventsBegin == time(0))
    }

    @Test("bills of agreements that are not ours are left alone")
    func foreign() throws {
        var machine = machine()
        #expect(try machine.debitNoteReceived(Bills.note("n", "a", "other", 1), at: time(1)).isEmpty)
        #expect(try machine.invoiceReceived(Bills.invoice("i", "other", 1), at: time(1)).isEmpty)
    }

    @Test("when what runs would pass the budget, everything is ended in time")
    func budget() {
        var machine = machine(budget: Amount("0.1")!)
        #expect(machine.clockTicked(time(80), margin: .seconds(10)).isEmpty)
        let actions = machine.clockTicked(time(95), margin: .seconds(10))
        #expect(actions.first == .budgetExhausted)
        #expect(actions.contains { if case .endAgreement("g", _, _) = $0 { true } else { false } })
        #expect(!machine.allows(Self.contract(), for: .seconds(1), at: time(95)))
        #expect(machine.clockTicked(time(99), margin: .seconds(10)).isEmpty, "said once")
    }

    /// Plays providers honest and not, a daemon that takes, refuses or does not answer, and crashes in between; looks at
    /// every step whether the rules hold, by a bookkeeping of its own.
    @Test("whatever happens, the rules hold", arguments: 0..<300)
    func anyOrder(seed: UInt64) throws {
        var random = Repeatable(seed: seed)
        let budget = Amount(glm: Double.random(in: 0.01...1, using: &random))!
        var machine = PaymentStateMachine(budget: budget)
        var ledger: [LedgerEntry] = []
        var world = World()
        var now = 0.0

        func perform(_ actions: [PaymentStateMachine.Action]) throws {
            for action in actions {
                switch action {
                case .record(let entry): ledger.append(entry)
                case .acceptDebitNote(let id, let amount):
                    #expect(ledger.contains { if case .acceptingNote(id, _, _, amount) = $0 { true } else { false } })
                    let note = try #require(world.notes[BillID(id)])
                    world.acceptedNotes[note.activity, default: .zero] = max(
                        world.acceptedNotes[note.activity] ?? .zero, amount)
                    #expect(amount <= world.bound(note.agreement, now, activity: note.activity))
                    try answer(BillID(id))
                case .acceptInvoice(let id, let amount):
                    #expect(ledger.contains { if case .acceptingInvoice(id, _, amount) = $0 { true } else { false } })
                    let agreement = try #require(world.invoices[BillID(id)])
                    #expect(world.acceptedInvoices[agreement] == nil || world.acceptedInvoices[agreement] == amount)
                    world.acceptedInvoices[agreement] = amount
                    #expect(amount <= world.bound(agreement, now, activity: nil))
                    #expect(amount == .zero || !world.unusable.contains(agreement))
                    try answer(BillID(id))
                case .rejectInvoice(let id, _, _):
                    #expect(world.invoices[BillID(id)].flatMap { world.acceptedInvoices[$0] } == nil)
                default: break
                }
                #expect(world.total <= budget, "seed \(seed)")
                #expect(world.total <= machine.promised)
            }
        }

        func answer(_ document: BillID) throws {
            switch Int.random(in: 0...5, using: &random) {
            case 0...3: try perform(machine.acceptanceTaken(document))
            case 4:
                // The daemon refused: nothing is owed.
                world.forget(document)
                try perform(machine.acceptanceRefused(document, reason: "no"))
            default: break
            }
        }

        for step in 0..<120 {
            now += Double.random(in: 0...5, using: &random)
            let agreement = world.contracts.keys.sorted().randomElement(using: &random) ?? "none"
            let activity = world.started.keys.sorted().filter { world.owner[$0] == agreement }.randomElement(
                using: &random)
            switch Int.random(in: 0...9, using: &random) {
            case 0:
                let contract = Self.contract(
                    perSecond: Double.random(in: 0...0.001, using: &random),
                    perCPU: Double.random(in: 0...0.001, using: &random))
                world.contracts["g\(step)"] = contract
                try perform(machine.agreementMade("g\(step)", contract, at: time(now)))
            case 1 where agreement != "none" && !world.ended.contains(agreement):
                world.started["a\(step)"] = now
                world.owner["a\(step)"] = agreement
                try perform(machine.activityAsked(under: agreement, at: time(now)))
                // The answer comes, or is lost; bills may come in both cases. Which of two that were lost a bill is for
                // cannot be said, so one is lost for each agreement.
                if Int.random(in: 0...3, using: &random) > 0 || !world.lost.insert(agreement).inserted {
                    try perform(machine.activityStarted("a\(step)", under: agreement, at: time(now)))
                } else {
                    world.unanswered.insert("a\(step)")
                }
            case 2:
                // Of one whose name did not arrive, nobody can say that it ended.
                guard let activity, !world.unanswered.contains(activity) else { continue }
                world.stopped[activity] = world.stopped[activity] ?? now
                try perform(machine.activityEnded(activity, under: agreement, at: time(now)))
            case 3...5:
                guard let activity else { continue }
                let elapsed = (world.stopped[activity] ?? now) - (world.started[activity] ?? now)
                let factor: Double = [1.0, 1, 1, 0.5, 5].randomElement(using: &random) ?? 1
                let cpu = elapsed * Double.random(in: 0...2, using: &random)
                let cost: Double = world.contracts[agreement]?.price.cost(seconds: elapsed, cpuSeconds: cpu) ?? 0
                world.notes["n\(step)"] = (activity, agreement)
                let note = try Bills.note(
                    "n\(step)", activity, agreement, Amount(glm: Double(cost) * factor)!,
                    usage: Bool.random(using: &random) ? [elapsed, cpu] : nil)
                try perform(machine.debitNoteReceived(note, at: time(now)))
                try perform(machine.debitNoteReceived(note, at: time(now)))
            case 6 where world.contracts[agreement] != nil:
                for (one, owner) in world.owner where owner == agreement {
                    world.stopped[one] = world.stopped[one] ?? now
                }
                world.ended.insert(agreement)
                try perform(machine.agreementEnded(agreement, at: time(now)))
                let bound = world.bound(agreement, now, activity: nil)
                let amount = bound.scaled(by: ([0.0, 0.2, 0.9, 3] as [Double]).randomElement(using: &random) ?? 1)
                world.invoices["i\(step)"] = agreement
                try perform(machine.invoiceReceived(Bills.invoice("i\(step)", agreement, amount), at: time(now)))
            case 7 where world.contracts[agreement] != nil && Int.random(in: 0...3, using: &random) == 0:
                let before = machine.expenses(run: "", now: time(now)).first { $0.agreementID == agreement }
                if before?.state == .open { world.unusable.insert(agreement) }
                try perform(machine.workUnusable(agreement, reason: "bad"))
            case 8:
                try perform(machine.clockTicked(time(now), margin: .seconds(5)))
            case 9 where Int.random(in: 0...3, using: &random) == 0:
                let before = machine
                machine = PaymentStateMachine(
                    budget: budget, replaying: try ledger.map { try #require(LedgerEntry($0.json)) })
                #expect(machine.promised >= world.total, "a crash forgot an acceptance, seed \(seed)")
                #expect(machine.openAgreements == before.openAgreements)
            default: break
            }
        }
    }

    /// What the test knows by itself.
    private struct World {
        var contracts: [AgreementID: Contract] = [:]
        var owner: [ActivityID: AgreementID] = [:]
        var started: [ActivityID: Double] = [:]
        var stopped: [ActivityID: Double] = [:]
        var ended: Set<AgreementID> = []
        var lost: Set<AgreementID> = []
        var unanswered: Set<ActivityID> = []
        var unusable: Set<AgreementID> = []
        var notes: [BillID: (activity: ActivityID, agreement: AgreementID)] = [:]
        var invoices: [BillID: AgreementID] = [:]
        var acceptedNotes: [ActivityID: Amount] = [:]
        var acceptedInvoices: [AgreementID: Amount] = [:]

        var total: Amount {
            contracts.keys.reduce(.zero) { sum, agreement in
                let notes = owner.filter { $0.value == agreement }.reduce(Amount.zero) {
                    $0 + (acceptedNotes[$1.key] ?? .zero)
                }
                return sum + max(notes, acceptedInvoices[agreement] ?? .zero)
            }
        }

        /// The most that price and clock allow, tolerance included.
        func bound(_ agreement: AgreementID, _ now: Double, activity: ActivityID?) -> Amount {
            guard let contract = contracts[agreement] else { return .zero }
            let tolerance = BillTolerance()
            let all = owner.filter { $0.value == agreement && (activity == nil || $0.key == activity) }.map { one in
                let seconds = (stopped[one.key] ?? now) - (started[one.key] ?? now) + tolerance.seconds
                return contract.price.cost(seconds: seconds, cpuSeconds: seconds * Double(contract.threads))
            }
            return Amount(glm: all.reduce(0.0, +) * (1 + tolerance.relative) * (1 + 1e-9))!
        }

        /// A refused acceptance is owed no more. Of notes, only the newest of an activity can be taken back.
        mutating func forget(_ document: BillID) {
            if let agreement = invoices[document] { acceptedInvoices[agreement] = nil }
            if let note = notes[document] { acceptedNotes[note.activity] = .zero }
        }
    }
}

@Suite("Ledger")
struct LedgerTests {
    private let entries: [LedgerEntry] = [
        .opened(run: "r", budget: Amount("0.5")!, platform: "erc20-hoodi-tglm", at: time(1)), .allocation("al", 1),
        .agreement(
            "g",
            Contract(
                providerID: "0x1", providerName: "ü", price: LinearPrice(perSecond: 0.1, perCPUSecond: 1e-7, start: 2),
                threads: 3), at: time(1.5)),
        .agreementRefused("h", at: time(1.6)), .activityAsked("g", at: time(1.7)),
        .activityNotStarted("g", at: time(1.7)),
        .allocationAsked(Amount("0.3")!, timeout: time(99)), .activity("a", "g", at: time(2)),
        .acceptingNote("n", "a", "g", Amount("0.1")!), .accepted("n"),
        .acceptanceRefused("m"), .activityEnded("a", "g", at: time(3)), .agreementEnded("g", at: time(3)),
        .unusable("h", reason: "bad"), .acceptingInvoice("i", "g", Amount("0.2")!),
        .rejectedInvoice("j", "h", 3, reason: "too much"), .settled("i"), .allocationReleased("al"),
        .closed(at: time(9)),
    ]

    @Test("every entry is read back as it was written")
    func roundTrip() throws {
        for entry in entries { #expect(LedgerEntry(try #require(JSON(parsing: entry.json.description))) == entry) }
        #expect(LedgerEntry(["entry": "new-kind"]) == nil)
    }

    @Test("a torn last line is cut off, and only one process writes")
    func tornLine() throws {
        let path = NSTemporaryDirectory() + "golem-ledger-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let ledger = try Ledger(path: path)
            for entry in entries.prefix(4) { try ledger.append(entry) }
            let error = #expect(throws: GolemError.self) { try Ledger(path: path) }
            #expect(error?.code == .conflict)
        }
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        try (whole + Data(#"{"entry":"acceptingInv"#.utf8)).write(to: URL(fileURLWithPath: path))
        let again = try Ledger(path: path)
        #expect(again.entries == Array(entries.prefix(4)))
        try again.append(entries[4])
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 5 && lines.allSatisfy { JSON(parsing: String($0)) != nil })
    }

    private func text(_ entries: [LedgerEntry]) -> [UInt8] {
        entries.enumerated().flatMap { LedgerText.line($1, number: $0 + 1) }
    }

    /// Whether `part` is what is left of `whole` when some are missing.
    private func isPart(_ part: [LedgerEntry], of whole: [LedgerEntry]) -> Bool {
        var rest = whole[...]
        return part.allSatisfy { entry in
            guard let index = rest.firstIndex(of: entry) else { return false }
            rest = rest[(index + 1)...]
            return true
        }
    }

    @Test("a byte that changed anywhere is found, and costs only its own line")
    func flippedBytes() {
        let bytes = text(entries)
        #expect(LedgerText(bytes).entries == entries && LedgerText(bytes).damage.isEmpty)
        // Another bit in each byte; small letters become capitals, digits other digits, brackets other signs.
        let masks: [UInt8] = [0x01, 0x04, 0x20, 0x80, 0x02]
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= masks[index % masks.count]
            let read = LedgerText(changed)
            #expect(!read.damage.isEmpty, "byte \(index)")
            #expect(isPart(read.entries, of: entries), "byte \(index): \(read.entries)")
            #expect(read.entries.count >= entries.count - 2, "byte \(index)")
        }
    }

    @Test("lines that were lost, doubled or moved are found")
    func lines() {
        let lines = entries.enumerated().map { LedgerText.line($1, number: $0 + 1) }
        for index in 0..<lines.count - 1 {
            var lost = lines
            lost.remove(at: index)
            #expect(LedgerText(lost.flatMap(\.self)).damage.count == 1, "without line \(index + 1)")
            var doubled = lines
            doubled.insert(lines[index], at: index)
            #expect(!LedgerText(doubled.flatMap(\.self)).damage.isEmpty)
            var moved = lines
            moved.swapAt(index, index + 1)
            #expect(!LedgerText(moved.flatMap(\.self)).damage.isEmpty)
        }
    }

    @Test("a last line is torn anywhere, or lacks only its end, and nothing is damaged by that")
    func tornAnywhere() {
        let head = text(Array(entries.dropLast()))
        let whole = text(entries)
        for count in head.count..<whole.count {
            let read = LedgerText(Array(whole.prefix(count)))
            let isComplete = count == whole.count - 1
            #expect(read.damage.isEmpty, "\(count) of \(whole.count) bytes")
            #expect(read.entries == (isComplete ? entries : Array(entries.dropLast())), "\(count) bytes")
            #expect(read.wholeBytes == (isComplete ? count : head.count) && read.lacksLineFeed == isComplete)
        }
    }

    @Test("ledgers from before are read, and go on with numbers and digests")
    func oldLedgers() {
        let old = entries.prefix(5).flatMap { entry in
            Array(entry.json.description.replacing("\"version\":2", with: "\"version\":1").utf8) + [UInt8(ascii: "\n")]
        }
        let read = LedgerText(old)
        #expect(read.entries == Array(entries.prefix(5)) && read.damage.isEmpty && read.next == 6)
        let more = old + LedgerText.line(entries[5], number: 6) + LedgerText.line(entries[6], number: 7)
        #expect(LedgerText(more).entries == Array(entries.prefix(7)) && LedgerText(more).damage.isEmpty)
        // What cannot be read was passed over before, wherever it stood.
        var damaged = more
        damaged[3] = UInt8(ascii: "}")
        #expect(LedgerText(damaged).damage.map(\.line) == [1])
    }

    @Test("a damaged ledger is refused by file and line")
    func refusedByName() throws {
        let path = NSTemporaryDirectory() + "golem-ledger-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let lines = entries.enumerated().map { LedgerText.line($1, number: $0 + 1) }
        var bytes = lines.flatMap(\.self)
        bytes[lines.prefix(4).joined().count + 20] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: GolemError.self) { try Ledger(path: path) }
        #expect(error?.code == .corrupted && error?.place == path)
        #expect(error?.message.contains("line 5 of the ledger is damaged") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(bytes), "a damaged ledger is left as it is")
    }

    @Test("past runs and their costs are listed")
    func pastRuns() throws {
        let folder = NSTemporaryDirectory() + "golem-ledgers-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            let ledger = try Ledger(path: Ledger.path(folder: folder, run: "a/b c"))
            for entry in entries { try ledger.append(entry) }
        }
        let run = try #require(try RunPayments.all(in: folder).first)
        #expect(run.runName == "r" && run.closed == time(9) && run.allocations.isEmpty && run.budget == Amount("0.5"))
        #expect(run.expenses.map(\.accepted) == [Amount("0.2")])
    }
}
