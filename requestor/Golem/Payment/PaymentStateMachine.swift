/// Decides what is paid. Pure: events in, actions out; no clock, no I/O.
///
/// Rules, in this order:
/// 1. an acceptance is preceded by its `record` action, so that it is on disk before it is sent;
/// 2. the sum of all acceptances never passes the budget: per agreement, the larger of its accepted notes together and
///    its accepted invoice counts;
/// 3. nothing is accepted above price × our own clock (with ``BillTolerance``), nor above price × the usage that the
///    provider itself reports;
/// 4. an amount above that ends the agreement, and its invoice is rejected with the reason;
/// 5. an agreement whose work was not usable is not paid;
/// 6. bills of agreements that are not ours are not touched;
/// 7. nothing is paid on another platform than the agreed one;
/// 8. an activity that was asked for counts as possibly started until it is known that it did not: where the answer was
///    lost, a bill for it is honest up to price × the time since it was asked for.
public struct PaymentStateMachine: Sendable {
    public enum Action: Sendable, Equatable {
        case record(LedgerEntry)
        case acceptDebitNote(DebitNoteID, Amount)
        case acceptInvoice(InvoiceID, Amount)
        case rejectInvoice(InvoiceID, RejectionReason, message: String)
        /// Terminate the agreement, whatever runs under it.
        case endAgreement(AgreementID, code: String, message: String)
        /// The bill is not accepted, for the log.
        case reportRefusal(AgreementID, Amount, String)
        case reportAccepted(AgreementID, Amount, isInvoice: Bool)
        /// Nothing more may be rented or run.
        case budgetExhausted

        /// An invoice is refused for its amount.
        fileprivate var isForAmount: Bool {
            if case .rejectInvoice(_, .incorrectAmount, _) = self { true } else { false }
        }
    }

    public let budget: Amount
    public let tolerance: BillTolerance
    /// On what agreements made from now on are paid.
    private var platform: String?
    private(set) var accounts = AccountBook()
    /// Notes being accepted: what to undo if the daemon refuses.
    private var pendingNotes: [BillID: PendingNote] = [:]
    var isExhausted = false
    package private(set) var openAllocations: [AllocationID] = []
    /// Allocations that were asked for and whose names are not known, by amount and time-out.
    package private(set) var unnamedAllocations: [UnnamedAllocation] = []
    package private(set) var closedAt: Timestamp?
    private(set) var lastTime = Timestamp(nanoseconds: 0)

    public init(budget: Amount, tolerance: BillTolerance = BillTolerance()) {
        self.budget = budget
        self.tolerance = tolerance
    }

    /// The sum of all that was promised.
    public var promised: Amount { accounts.promised }

    // MARK: Replaying a ledger

    mutating func note(_ time: Timestamp) { lastTime = max(lastTime, time) }
    mutating func allocationAsked(_ total: Amount, timeout: Timestamp) {
        unnamedAllocations.append(UnnamedAllocation(total: total, timeout: timeout))
    }
    /// One allocation is asked for at a time.
    mutating func openAllocation(_ id: AllocationID) {
        unnamedAllocations = []
        openAllocations.append(id)
    }
    mutating func forgetUnnamedAllocations() { unnamedAllocations = [] }
    mutating func closeAllocation(_ id: AllocationID) { openAllocations.removeAll { $0 == id } }
    mutating func close(_ time: Timestamp) { closedAt = time }
    mutating func reopen(platform: String) {
        closedAt = nil
        self.platform = platform
    }

    mutating func restoreNote(
        _ id: DebitNoteID, _ activity: ActivityID, _ agreement: AgreementID, _ amount: Amount
    ) {
        guard let account = accounts[agreement]?.activities[activity] else { return }
        pendingNotes[BillID(id)] = PendingNote(
            agreement: agreement, activity: activity, amount: amount, before: account.promised)
        accounts[agreement]?.activities[activity]?.promised = max(account.promised ?? .zero, amount)
        accounts[agreement]?.activities[activity]?.billed = max(account.billed, amount)
    }

    mutating func restoreInvoice(_ bill: Bill, _ agreement: AgreementID) {
        accounts[agreement]?.invoice = bill
    }

    // MARK: Life of agreements

    public mutating func agreementMade(_ id: AgreementID, _ contract: Contract, at: Timestamp) -> [Action] {
        accounts[id] = Account(contract: contract, platform: platform)
        return [.record(.agreement(id, contract, at: at))]
    }

    /// An activity is about to be asked for.
    public mutating func activityAsked(under agreement: AgreementID, at: Timestamp) -> [Action] {
        guard let account = accounts[agreement], !account.isEnded else { return [] }
        accounts[agreement]?.unnamed.append(ActivityAccount(startedAt: at))
        return [.record(.activityAsked(agreement, at: at))]
    }

    /// It is certain that what was asked for then did not start.
    public mutating func activityNotStarted(under agreement: AgreementID, askedAt: Timestamp) -> [Action] {
        guard let index = accounts[agreement]?.unnamed.firstIndex(where: { $0.startedAt == askedAt }) else { return [] }
        accounts[agreement]?.unnamed.remove(at: index)
        return [.record(.activityNotStarted(agreement, at: askedAt))]
    }

    public mutating func activityStarted(_ id: ActivityID, under agreement: AgreementID, at: Timestamp) -> [Action] {
        // A bill may have named it before.
        guard let account = accounts[agreement], account.activities[id] == nil else { return [] }
        var started = ActivityAccount(startedAt: at)
        if let index = account.unnamed.firstIndex(where: { $0.startedAt == at }) {
            started = account.unnamed[index]
            accounts[agreement]?.unnamed.remove(at: index)
        }
        accounts[agreement]?.activities[id] = started
        return [.record(.activity(id, agreement, at: at))]
    }

    public mutating func activityEnded(_ id: ActivityID, under agreement: AgreementID, at: Timestamp) -> [Action] {
        guard let account = accounts[agreement]?.activities[id], account.endedAt == nil else { return [] }
        accounts[agreement]?.activities[id]?.endedAt = at
        return [.record(.activityEnded(id, agreement, at: at))]
    }

    public mutating func agreementEnded(_ id: AgreementID, at: Timestamp) -> [Action] {
        guard let account = accounts[id], !account.isEnded else { return [] }
        accounts[id]?.isEnded = true
        var actions: [Action] = []
        for (activity, one) in account.activities.sorted(by: { $0.key < $1.key }) where one.endedAt == nil {
            actions += activityEnded(activity, under: id, at: at)
        }
        for index in account.unnamed.indices { accounts[id]?.unnamed[index].endedAt = at }
        return actions + [.record(.agreementEnded(id, at: at))]
    }

    /// It never came about: the provider refused it, or it was taken back. No invoice is to be expected.
    public mutating func agreementRefused(_ id: AgreementID, at: Timestamp) -> [Action] {
        guard let account = accounts[id], !account.isEnded else { return [] }
        accounts[id]?.isEnded = true
        accounts[id]?.invoice = .notDue
        return [.record(.agreementRefused(id, at: at))]
    }

    /// Its work was of no use, or the author of the plan objects to its bills: its invoice will be rejected with `reason`.
    public mutating func workUnusable(_ id: AgreementID, reason: String) -> [Action] {
        guard let account = accounts[id], account.unusable == nil, account.isOpen else { return [] }
        accounts[id]?.unusable = reason
        accounts[id]?.refusal = reason
        return [.record(.unusable(id, reason: reason))]
    }

    /// What the provider says an activity has used; bounds its bill for processor time.
    public mutating func usageReported(
        _ counters: [Double], by activity: ActivityID, under agreement: AgreementID, at: Timestamp
    ) {
        guard let account = accounts[agreement], let one = account.activities[activity],
            let index = account.contract.price.counters.firstIndex(of: LinearPrice.cpu), index < counters.count,
            counters[index].isFinite, counters[index] >= (one.cpu?.seconds ?? 0)
        else { return }
        accounts[agreement]?.activities[activity]?.cpu = (counters[index], at)
    }

    // MARK: Bills

    public mutating func debitNoteReceived(_ note: DebitNote, at now: Timestamp) -> [Action] {
        guard let account = accounts[note.agreementID], account.isOpen, note.status == .received,
            pendingNotes[BillID(note.id)] == nil
        else { return [] }
        let due = note.totalAmountDue
        guard let activity = account.activities[note.activityID] else {
            guard let asked = account.unnamed.first?.startedAt else {
                return refuse(note.agreementID, due, "a debit note came for an activity that we did not start")
            }
            return activityStarted(note.activityID, under: note.agreementID, at: asked)
                + debitNoteReceived(note, at: now)
        }
        accounts[note.agreementID]?.activities[note.activityID]?.billed = max(activity.billed, due)
        if let objection = objection(to: note.paymentPlatform, account) {
            return refuse(note.agreementID, due, "a debit note " + objection)
        }
        if account.refusal != nil || due < (activity.promised ?? .zero) { return [] }
        if let usage = note.usage {
            usageReported(usage, by: note.activityID, under: note.agreementID, at: activity.endedAt ?? now)
        }
        // With the usage of this note: one that was asked for before may be older than what it says.
        let reported = accounts[note.agreementID]?.activities[note.activityID] ?? activity
        let allowed = allowance(account.contract, reported, usage: note.usage, at: now)
        if due > allowed {
            return refuse(
                note.agreementID, due,
                "a debit note asks for \(note.asked) GLM, by price and clock it may be \(allowed)")
        }
        let increase = due - (activity.promised ?? .zero)
        if promised + increase > budget {
            isExhausted = true
            return refuse(note.agreementID, due, "the budget of \(budget) GLM does not allow \(due) more") + [
                .budgetExhausted
            ]
        }
        pendingNotes[BillID(note.id)] = PendingNote(
            agreement: note.agreementID, activity: note.activityID, amount: due, before: activity.promised)
        accounts[note.agreementID]?.activities[note.activityID]?.promised = due
        return [
            .record(.acceptingNote(note.id, note.activityID, note.agreementID, due)), .acceptDebitNote(note.id, due),
        ]
    }

    public mutating func invoiceReceived(_ invoice: Invoice, at now: Timestamp) -> [Action] {
        guard let account = accounts[invoice.agreementID], invoice.status == .received else { return [] }
        switch account.invoice {
        case .none, .givenUp, .notDue:
            break
        case .accepting(let id, let amount) where id == invoice.id:
            // Written down, but not known to be sent: after a crash it is sent again, which pays nothing twice.
            return [.acceptInvoice(id, amount)]
        default:
            return []
        }
        var actions = agreementEnded(invoice.agreementID, at: now)
        let ended = accounts[invoice.agreementID] ?? account
        if invoice.amount == .zero { return actions + accept(invoice) }
        if let objection = objection(to: invoice.paymentPlatform, ended) {
            return actions + reject(invoice, .incorrectAmount, "the invoice " + objection)
        }
        if invoice.amount < .zero {
            return actions + reject(invoice, .incorrectAmount, "an invoice cannot ask for less than nothing")
        }
        if let reason = ended.unusable {
            return actions + reject(invoice, .badService, reason)
        }
        let allowed = allowance(of: ended, at: now)
        if invoice.amount > allowed {
            actions += reject(
                invoice, .incorrectAmount,
                "the invoice asks for \(invoice.asked) GLM, by the agreed price and our clock it may be \(allowed)")
            return actions
        }
        let others = promised - ended.promised
        if others + max(ended.promised, invoice.amount) > budget {
            return actions
                + reject(
                    invoice, .incorrectAmount, "the budget of \(budget) GLM does not allow \(invoice.amount) more")
        }
        return actions + accept(invoice)
    }

    /// Whether the invoice, came it now, would be refused for its amount.
    public func refusesAmount(of invoice: Invoice, at now: Timestamp) -> Bool {
        var trial = self
        trial.accounts = accounts.only(invoice.agreementID)
        return trial.invoiceReceived(invoice, at: now).contains(where: \.isForAmount)
    }

    /// What is wrong with the platform on which a bill wants to be paid.
    private func objection(to platform: String, _ account: Account) -> String? {
        guard let agreed = account.platform, platform != agreed else { return nil }
        return "wants to be paid on `\(platform)`, agreed is `\(agreed)`"
    }

    private mutating func accept(_ invoice: Invoice) -> [Action] {
        accounts[invoice.agreementID]?.invoice = .accepting(invoice.id, invoice.amount)
        return [
            .record(.acceptingInvoice(invoice.id, invoice.agreementID, invoice.amount)),
            .acceptInvoice(invoice.id, invoice.amount),
        ]
    }

    private mutating func reject(_ invoice: Invoice, _ reason: RejectionReason, _ message: String) -> [Action] {
        accounts[invoice.agreementID]?.invoice = .rejected(invoice.id, invoice.amount, message)
        return [
            .record(.rejectedInvoice(invoice.id, invoice.agreementID, invoice.amount, reason: message)),
            .rejectInvoice(invoice.id, reason, message: message),
            .reportRefusal(invoice.agreementID, invoice.amount, message),
        ]
    }

    private mutating func refuse(_ agreement: AgreementID, _ amount: Amount, _ reason: String) -> [Action] {
        guard accounts[agreement]?.refusal == nil else { return [] }
        accounts[agreement]?.refusal = reason
        return [
            .reportRefusal(agreement, amount, reason),
            .endAgreement(agreement, code: "IncorrectAmount", message: reason),
        ]
    }

    // MARK: What became of acceptances

    public mutating func acceptanceTaken(_ document: BillID) -> [Action] {
        if let note = pendingNotes.removeValue(forKey: document) {
            return [.record(.accepted(document)), .reportAccepted(note.agreement, note.amount, isInvoice: false)]
        }
        guard let id = accounts.agreement(withInvoice: document),
            case .accepting(let invoice, let amount)? = accounts[id]?.invoice
        else { return [] }
        accounts[id]?.invoice = .accepted(invoice, amount)
        return [.record(.accepted(document)), .reportAccepted(id, amount, isInvoice: true)]
    }

    /// The daemon refused the acceptance for good (not: did not answer).
    public mutating func acceptanceRefused(_ document: BillID, reason: String) -> [Action] {
        if let note = pendingNotes.removeValue(forKey: document) {
            // A newer note of the same activity may have been promised meanwhile; it stands.
            if accounts[note.agreement]?.activities[note.activity]?.promised == note.amount {
                accounts[note.agreement]?.activities[note.activity]?.promised = note.before
            }
            return [.record(.acceptanceRefused(document))]
        }
        guard let id = accounts.agreement(withInvoice: document),
            case .accepting(let invoice, let amount)? = accounts[id]?.invoice
        else { return [] }
        let message = "the daemon did not take our acceptance: " + reason
        accounts[id]?.invoice = .rejected(invoice, amount, message)
        return [.record(.acceptanceRefused(document)), .reportRefusal(id, amount, message)]
    }

    public mutating func invoiceSettled(_ invoice: InvoiceID) -> [Action] {
        guard let id = accounts.agreement(withInvoice: BillID(invoice)),
            case .accepted(invoice, let amount)? = accounts[id]?.invoice
        else { return [] }
        accounts[id]?.invoice = .settled(invoice, amount)
        return [.record(.settled(invoice))]
    }

    /// What is promised and not yet known to be taken by the daemon, and so not drawn from an allocation.
    var promisedButNotTaken: Amount {
        let notes = pendingNotes.values.reduce(Amount.zero) { $0 + ($1.amount - ($1.before ?? .zero)) }
        return accounts.byID.values.reduce(notes) { sum, account in
            guard case .accepting(_, let amount) = account.invoice else { return sum }
            let noted = account.activities.values.reduce(Amount.zero) { $0 + ($1.promised ?? .zero) }
            return sum + max(.zero, amount - noted)
        }
    }

    /// No invoice came in the time allowed for it.
    public mutating func invoiceGivenUp(_ agreement: AgreementID) {
        if accounts[agreement]?.invoice == Bill.none { accounts[agreement]?.invoice = .givenUp }
    }

    // MARK: Budget

    /// Looks ahead by `margin`: if all that runs went on so long, would its bills pass the budget?
    public mutating func clockTicked(_ now: Timestamp, margin: Duration) -> [Action] {
        guard !isExhausted, exposure(at: now + margin) > budget else { return [] }
        isExhausted = true
        let running = accounts.byID.filter { !$0.value.isEnded && $0.value.isOpen }.keys.sorted()
        let reason = "the budget of \(budget) GLM is used up"
        return [.budgetExhausted] + running.map { .endAgreement($0, code: "Cancelled", message: reason) }
    }
}
