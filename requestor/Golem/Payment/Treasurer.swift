import CoreMetrics
import Waiting

/// Performs what ``PaymentStateMachine`` decides: keeps the ledger, accepts and rejects bills, watches the budget.
actor Treasurer {
    let client: GolemClient
    private let ledger: Ledger
    var machine: PaymentStateMachine
    private let runName: String
    let daemonPatience: Duration
    let paymentPlatform: String
    /// How long an allocation lives without being prolonged.
    let allocationLifetime: Duration
    /// One allocation is made at a time.
    let allocationTurn = WaitQueue(Turns(width: 1))
    let emit: @Sendable (RentalEvent) -> Void
    /// Of this run only: bills of earlier ones were for another plan.
    let billObjection: (@Sendable (ReceivedBill) async -> String?)?
    var allocation: AllocationID?
    /// An allocation of the plan's author: used, but neither prolonged nor released.
    var reused: AllocationID?
    /// Set when the ledger cannot be written any more: nothing is accepted from then on.
    private var isLedgerBroken = false
    /// Agreements whose provider cannot be reached: their invoices are not waited for.
    var unreachable: Set<AgreementID> = []
    /// Refusals that are being told: a refused invoice is not awaited any more, but its provider must learn of it.
    private var rejectionsUnderWay = 0
    private let acceptedGLM = Telemetry.acceptedGLM()
    private var held = HeldBills()
    private var endAgreement: @Sendable (AgreementID, String, String) async -> Void = { _, _, _ in }
    private var budgetExhausted: @Sendable (String) async -> Void = { _ in }

    init(
        client: GolemClient, ledger: Ledger, budget: Amount, runName: String, plan: RentalPlan
    ) {
        self.client = client
        self.ledger = ledger
        self.runName = runName
        daemonPatience = plan.daemonPatience
        paymentPlatform = plan.paymentPlatform
        allocationLifetime = plan.allocationTimeout
        emit = plan.onEvent
        billObjection = runName == plan.runName ? plan.billObjection : nil
        machine = PaymentStateMachine(budget: budget, tolerance: plan.tolerance, replaying: ledger.entries)
    }

    func connect(
        endAgreement: @escaping @Sendable (AgreementID, String, String) async -> Void,
        budgetExhausted: @escaping @Sendable (String) async -> Void
    ) {
        self.endAgreement = endAgreement
        self.budgetExhausted = budgetExhausted
    }

    var remainingBudget: Amount { machine.budget - machine.promised }
    var openAllocations: [AllocationID] { machine.openAllocations + (allocation.map { [$0] } ?? []) }

    func expenses() -> [Expense] { machine.expenses(run: runName, now: .now()) }

    func allows(_ contract: Contract, for time: Duration) -> Bool {
        machine.allows(contract, for: time, at: .now())
    }

    // MARK: Ledger and allocation

    /// Writes a line; throws if the disk does not take it.
    func record(_ entry: LedgerEntry) throws {
        do {
            try ledger.append(entry)
        } catch {
            isLedgerBroken = true
            throw error
        }
    }

    /// A run begins, or goes on.
    func begin(budget: Amount, platform: String, at: Timestamp) throws {
        let entry = LedgerEntry.opened(run: runName, budget: budget, platform: platform, at: at)
        try record(entry)
        machine.replay(entry)
    }

    /// The run left nothing behind.
    func closeLedger() {
        guard machine.openAgreements.isEmpty, machine.openAllocations.isEmpty, allocation == reused,
            // Bills may have come that nobody could tell us of.
            client.watch.awayFor() == nil
        else { return }
        try? record(.closed(at: .now()))
    }

    // MARK: Life of agreements

    /// Written to disk before the agreement is sent: one that a crash leaves behind must be found.
    func agreementMade(_ id: AgreementID, _ contract: Contract) throws {
        for action in machine.agreementMade(id, contract, at: .now()) {
            if case .record(let entry) = action { try record(entry) }
        }
    }

    /// Written to disk before the activity is asked for: the provider may start it though its answer is lost.
    func activityAsked(under agreement: AgreementID, at: Timestamp) throws {
        for action in machine.activityAsked(under: agreement, at: at) {
            if case .record(let entry) = action { try record(entry) }
        }
    }

    func activityNotStarted(under agreement: AgreementID, askedAt: Timestamp) async {
        await perform(machine.activityNotStarted(under: agreement, askedAt: askedAt))
    }

    func activityStarted(_ id: ActivityID, under agreement: AgreementID, at: Timestamp) async {
        await perform(machine.activityStarted(id, under: agreement, at: at))
    }

    func activityEnded(_ id: ActivityID, under agreement: AgreementID) async {
        await perform(machine.activityEnded(id, under: agreement, at: .now()))
    }

    func agreementEnded(_ id: AgreementID, providerAnswers: Bool) async {
        if !providerAnswers { unreachable.insert(id) }
        await perform(machine.agreementEnded(id, at: .now()))
    }

    func agreementRefused(_ id: AgreementID) async {
        await perform(machine.agreementRefused(id, at: .now()))
    }

    func end(_ id: AgreementID, reason: String) async { await endAgreement(id, "Cancelled", reason) }

    func workUnusable(_ id: AgreementID, reason: String) async {
        await payNothing(for: id, reason: "the work was not usable: " + reason)
    }

    /// Nothing more is accepted for an agreement; `reason`, as it stands, is what its provider and the table of costs say.
    func payNothing(for id: AgreementID, reason: String) async {
        await perform(machine.workUnusable(id, reason: reason))
    }

    /// Whatever the provider did in this run was of no use.
    func workUnusable(of provider: NodeID, reason: String) async {
        for (id, account) in machine.accounts.byID where account.contract.providerID == provider {
            await workUnusable(id, reason: reason)
        }
    }

    /// A provider's bills wait until ``releaseBills(of:)``, its debit notes no longer than `patience`.
    func holdBills(of provider: NodeID, patience: Duration) { held.hold(provider, patience: patience) }

    func releaseBills(of provider: NodeID) async { await handle(held.release(provider)) }
    func releaseAllBills() async { await handle(held.releaseAll()) }

    private func mustWait(_ bill: HeldBills.Bill, _ agreement: AgreementID) -> Bool {
        guard let provider = machine.contract(of: agreement)?.providerID else { return false }
        return held.keep(bill, of: provider, at: .now())
    }

    private func handle(_ bills: [HeldBills.Bill]) async {
        for bill in bills {
            switch bill {
            case .note(let note): await perform(machine.debitNoteReceived(note, at: .now()))
            case .invoice(let invoice): await handle(invoice)
            }
        }
    }

    func usageReported(_ usage: ActivityUsage, by activity: ActivityID, under agreement: AgreementID) {
        machine.usageReported(usage.counters, by: activity, under: agreement, at: .now())
    }

    // MARK: Loops

    /// Handles debit notes until cancelled. It runs for the whole life of all agreements: a note that is not accepted
    /// in time makes the provider leave.
    func handleDebitNotes(since: Timestamp) async {
        await follow(since: since) { [client] after in
            try await client.payment.debitNoteEvents(after: after, timeout: .seconds(10))
        } handle: { event in
            guard event.isReceived, let id = event.debitNoteID else { return }
            let note = try await self.client.payment.debitNote(id)
            guard await self.passes(note) else { return }
            if self.mustWait(.note(note), note.agreementID) { return }
            await self.perform(self.machine.debitNoteReceived(note, at: .now()))
        }
    }

    func handleInvoices(since: Timestamp) async {
        await follow(since: since) { [client] after in
            try await client.payment.invoiceEvents(after: after, timeout: .seconds(10))
        } handle: { event in
            guard let id = event.invoiceID else { return }
            if event.isReceived {
                await self.handle(try await self.client.payment.invoice(id))
            } else if event.kind.hasSuffix("SettledEvent") {
                await self.perform(self.machine.invoiceSettled(id))
            }
        }
    }

    /// Looks ahead every `interval` whether the budget holds.
    func watchBudget(every interval: Duration, margin: Duration) async {
        while !Task.isCancelled {
            await perform(machine.clockTicked(.now(), margin: margin))
            await handle(held.overdue(at: .now()))
            try? await Task.sleep(for: interval)
        }
    }

    private func follow(
        since: Timestamp, _ next: @Sendable (Timestamp) async throws -> [PaymentEvent],
        handle: (PaymentEvent) async throws -> Void
    ) async {
        var after = EventTime(since)
        while !Task.isCancelled {
            do {
                let events = try await next(after.next(by: client.watch))
                for event in await after.new(of: events, { $0.date }, by: client.watch) {
                    do {
                        try await handle(event)
                    } catch let error as GolemError where !error.mayPass {
                        emit(RentalEvent(.warning, "a bill could not be read: \(error)"))
                    }
                    after.seen(event.date, by: client.watch)
                }
            } catch {
                // Our daemon is away or slow: the same events are asked for again.
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func handle(_ invoice: Invoice) async {
        if invoice.status == .accepted || invoice.status == .settled {
            // Accepted before a crash, as the ledger says; only the confirmation was lost.
            await perform(machine.acceptanceTaken(BillID(invoice.id)))
            if invoice.status == .settled { await perform(machine.invoiceSettled(invoice.id)) }
            return
        }
        if mustWait(.invoice(invoice), invoice.agreementID) { return }
        _ = await passes(invoice)
        if machine.refusesAmount(of: invoice, at: .now()) {
            // The last debit notes say what the provider has counted, and may not have been read yet.
            for note in (try? await client.payment.debitNotes()) ?? [] where note.agreementID == invoice.agreementID {
                guard await passes(note) else { continue }
                await perform(machine.debitNoteReceived(note, at: .now()))
            }
        }
        await perform(machine.invoiceReceived(invoice, at: .now()))
    }

    /// Waits until every invoice that can still come has come and is dealt with, at most `limit`; `enough` ends it before.
    /// It is said who is waited for.
    func settleUp(within limit: Duration, enough: OneShot<Void>?) async {
        let start = ContinuousClock.now
        var looked = start
        var isTold = false
        let before = client.watch.timeNotTheirs()
        while ContinuousClock.now - start - (client.watch.timeNotTheirs() - before) < limit, enough?.value == nil,
            client.watch.awayFor() ?? .zero < min(.seconds(60), daemonPatience)
        {
            let awaited = machine.awaitedInvoices.filter { !unreachable.contains($0) }
            guard rejectionsUnderWay > 0 || !awaited.isEmpty else { break }
            if !isTold, !awaited.isEmpty, ContinuousClock.now - start > .seconds(1) {
                isTold = true
                let names = Set(awaited.compactMap { machine.contract(of: $0)?.providerName }).sorted()
                emit(
                    RentalEvent(
                        .waiting, "waiting for the last bill of \(names.joined(separator: ", ")), at most \(limit.text)"
                    ))
            }
            if ContinuousClock.now - looked > .seconds(2) {
                looked = .now
                // Whatever became of its event, here it is.
                await handleInvoices(of: Set(awaited))
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
        for agreement in machine.awaitedInvoices { machine.invoiceGivenUp(agreement) }
    }

    func handleInvoices(of agreements: Set<AgreementID>) async {
        for invoice in (try? await client.payment.invoices()) ?? [] where agreements.contains(invoice.agreementID) {
            await handle(invoice)
        }
    }

    // MARK: Actions

    func perform(_ actions: [PaymentStateMachine.Action]) async {
        for action in actions { await perform(action) }
    }

    private func perform(_ action: PaymentStateMachine.Action) async {
        switch action {
        case .record(let entry):
            do {
                try record(entry)
            } catch {
                emit(RentalEvent(.warning, "the ledger cannot be written, nothing more is accepted: \(error)"))
                await budgetExhausted("the ledger cannot be written: \(error)")
            }
        case .acceptDebitNote(let id, let amount):
            await accept(BillID(id)) { try await $0.payment.acceptDebitNote(id, amount: amount, allocation: $1) }
        case .acceptInvoice(let id, let amount):
            await accept(BillID(id)) { try await $0.payment.acceptInvoice(id, amount: amount, allocation: $1) }
        case .rejectInvoice(let id, let reason, let message):
            rejectionsUnderWay += 1
            defer { rejectionsUnderWay -= 1 }
            await attempt("reject an invoice") { [client, daemonPatience] in
                try await client.waitingForDaemon(patience: daemonPatience) {
                    try await client.payment.rejectInvoice(id, reason: reason, message: message)
                }
            }
        case .endAgreement(let id, let code, let message):
            await endAgreement(id, code, message)
        case .reportRefusal(let id, let amount, let reason):
            Telemetry.billRefused()
            event(.billRefused, reason, id, amount)
        case .reportAccepted(let id, let amount, let isInvoice):
            if isInvoice { acceptedGLM.increment(by: amount.glm) }
            event(isInvoice ? .invoice : .debitNote, isInvoice ? "invoice accepted" : "debit note accepted", id, amount)
        case .budgetExhausted:
            emit(RentalEvent(.budget, "the budget of \(machine.budget) GLM is used up", amount: machine.promised))
            await budgetExhausted("the budget of \(machine.budget) GLM is used up")
        }
    }

    private func event(_ kind: RentalEvent.Kind, _ message: String, _ agreement: AgreementID, _ amount: Amount) {
        let contract = machine.contract(of: agreement)
        emit(
            RentalEvent(
                kind, message, providerID: contract?.providerID, providerName: contract?.providerName,
                agreementID: agreement, amount: amount))
    }

    private func accept(
        _ document: BillID, _ send: @escaping @Sendable (GolemClient, AllocationID) async throws -> Void
    ) async {
        var pause = Duration.milliseconds(200)
        var attempts = 0
        while !isLedgerBroken, let source = allocation ?? machine.openAllocations.last {
            do {
                try await send(client, source)
                await perform(machine.acceptanceTaken(document))
                return
            } catch let error as GolemError where !error.mayPass && error.code != .daemon {
                switch await renewAllocation(source) {
                case .renewed: continue
                case .impossible: break
                case .notTheReason:
                    emit(RentalEvent(.warning, "an acceptance was refused: \(error)"))
                    await perform(machine.acceptanceRefused(document, reason: error.message))
                    return
                }
                break
            } catch is CancellationError {
                // The run is over: what it promised is in the ledger, and its invoice covers it.
                return
            } catch {
                // Not known whether it arrived: sending it again pays nothing twice.
                if !error.isOurDaemons { attempts += 1 }
                guard attempts < 8, client.watch.awayFor() ?? .zero < daemonPatience, !Task.isCancelled else { break }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(3))
            }
        }
        guard !isLedgerBroken else { return }
        emit(RentalEvent(.warning, "the acceptance of \(document) may not have arrived; it stays in the ledger"))
    }

    private func attempt(_ what: String, _ operation: @Sendable () async throws -> Void) async {
        for attempt in 1...3 {
            do {
                return try await operation()
            } catch {
                if attempt == 3 { emit(RentalEvent(.warning, "could not \(what): \(error)")) }
                try? await Task.sleep(for: .milliseconds(300))
            }
        }
    }
}
