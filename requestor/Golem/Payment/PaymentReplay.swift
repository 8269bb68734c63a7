extension PaymentStateMachine {
    /// The state that a ledger leaves behind. What was being accepted counts as promised.
    public init(budget: Amount, tolerance: BillTolerance = BillTolerance(), replaying entries: [LedgerEntry]) {
        self.init(budget: budget, tolerance: tolerance)
        for entry in entries { replay(entry) }
    }

    mutating func replay(_ entry: LedgerEntry) {
        switch entry {
        case .opened(_, _, let platform, let at):
            note(at)
            reopen(platform: platform)
        case .allocationAsked(let amount, let timeout):
            allocationAsked(amount, timeout: timeout)
        case .allocation(let id, _):
            openAllocation(id)
        case .allocationReleased(let id):
            closeAllocation(id)
        case .agreement(let id, let contract, let at):
            note(at)
            _ = agreementMade(id, contract, at: at)
        case .agreementRefused(let id, let at):
            note(at)
            _ = agreementRefused(id, at: at)
        case .agreementEnded(let id, let at):
            note(at)
            _ = agreementEnded(id, at: at)
        case .activityAsked(let agreement, let at):
            note(at)
            _ = activityAsked(under: agreement, at: at)
        case .activityNotStarted(let agreement, let at):
            _ = activityNotStarted(under: agreement, askedAt: at)
        case .activity(let id, let agreement, let at):
            note(at)
            _ = activityStarted(id, under: agreement, at: at)
        case .activityEnded(let id, let agreement, let at):
            note(at)
            _ = activityEnded(id, under: agreement, at: at)
        case .unusable(let id, let reason):
            _ = workUnusable(id, reason: reason)
        case .acceptingNote(let id, let activity, let agreement, let amount):
            restoreNote(id, activity, agreement, amount)
        case .acceptingInvoice(let id, let agreement, let amount):
            restoreInvoice(.accepting(id, amount), agreement)
        case .accepted(let id):
            _ = acceptanceTaken(id)
        case .acceptanceRefused(let id):
            _ = acceptanceRefused(id, reason: "")
        case .rejectedInvoice(let id, let agreement, let amount, let reason):
            restoreInvoice(.rejected(id, amount, reason), agreement)
        case .settled(let id):
            _ = invoiceSettled(id)
        case .closed(let at):
            note(at)
            close(at)
        }
    }

    /// Agreements of ours that nothing says are over.
    public var openAgreements: [AgreementID] {
        accounts.byID.filter { !$0.value.isEnded }.keys.sorted()
    }

    /// Agreements whose invoices are still to come or to be accepted. One under which nothing was asked for owes nothing.
    public var awaitedInvoices: [AgreementID] {
        accounts.byID.filter { $0.value.isOpen && $0.value.mayOwe }.keys.sorted()
    }

    /// Activities of an agreement that nothing says are over.
    public func openActivities(of agreement: AgreementID) -> [ActivityID] {
        accounts[agreement]?.activities.filter { $0.value.endedAt == nil }.keys.sorted() ?? []
    }

    /// Invoices whose acceptance was written down, but is not known to have been taken.
    public var uncertainInvoices: [(InvoiceID, Amount)] {
        accounts.byID.values.compactMap { account in
            if case .accepting(let id, let amount) = account.invoice { return (id, amount) }
            return nil
        }
    }

    public func contract(of agreement: AgreementID) -> Contract? { accounts[agreement]?.contract }

    /// The table of costs, in the order of provider names, without agreements under which nothing was asked for.
    public func expenses(run: String, now: Timestamp) -> [Expense] {
        accounts.byID.filter { $0.value.isWorthALine }.map { id, account in
            let seconds = account.activities.values.reduce(0.0) {
                $0 + max(0, (($1.endedAt ?? now) - $1.startedAt).inSeconds)
            }
            let noted = account.activities.values.reduce(Amount.zero) { $0 + $1.billed }
            var expense = Expense(
                runName: run, providerID: account.contract.providerID, providerName: account.contract.providerName,
                agreementID: id, invoiceID: nil, seconds: seconds, billed: noted, accepted: account.promised,
                state: .open, reason: account.refusal)
            switch account.invoice {
            case .none, .notDue: break
            case .givenUp: expense.state = .noInvoice
            case .accepting(let invoice, let amount):
                (expense.invoiceID, expense.billed, expense.state) = (invoice, amount, .uncertain)
            case .accepted(let invoice, let amount):
                (expense.invoiceID, expense.billed, expense.state) = (invoice, amount, .accepted)
            case .settled(let invoice, let amount):
                (expense.invoiceID, expense.billed, expense.state) = (invoice, amount, .settled)
            case .rejected(let invoice, let amount, let reason):
                (expense.invoiceID, expense.billed, expense.state) = (invoice, amount, .rejected)
                expense.reason = reason
            }
            return expense
        }.sorted { ($0.providerName, $0.agreementID) < ($1.providerName, $1.agreementID) }
    }
}

extension PaymentStateMachine.Account {
    /// Something ran under it, or something was billed for it.
    fileprivate var isWorthALine: Bool {
        switch invoice {
        case .none, .givenUp, .notDue: mayOwe
        default: true
        }
    }
}
