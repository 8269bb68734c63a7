/// Opens the ledger of a run that goes on, and asks the daemon what it knows that the ledger does not.
///
/// The daemon keeps every bill and what became of it. An acceptance that it knows and the ledger has lost counts against
/// the budget again; where a line is damaged, the ledger is written anew from its other lines and from what the daemon
/// says, and the damaged file is kept. Everything that is found is told.
package struct LedgerRecovery: Sendable {
    let client: GolemClient
    let emit: @Sendable (RentalEvent) -> Void

    package init(client: GolemClient, emit: @escaping @Sendable (RentalEvent) -> Void) {
        self.client = client
        self.emit = emit
    }

    /// - Throws: `conflict` if the ledger is in use; `corrupted`, with file and line, if it is damaged and the daemon cannot
    ///   be asked.
    package func open(_ path: String, run: String) async throws -> Ledger {
        let ledger = try Ledger(path: path, allowingDamage: true)
        let damage = Ledger.error(ledger.damage, path)
        guard damage != nil || !ledger.entries.isEmpty else { return ledger }
        let lost: [LedgerEntry]
        do {
            lost = try await missing(from: ledger.entries, run: run)
        } catch let error as GolemError {
            if var damage {
                damage.cause = error
                throw damage
            }
            emit(RentalEvent(.warning, "the daemon could not be asked for bills of before: \(error.message)"))
            return ledger
        }
        if let damage {
            emit(RentalEvent(.warning, "\(damage.message) (\(path)); it is written anew, the old one is kept"))
            try ledger.replace(with: ledger.entries + lost)
        } else {
            for entry in lost { try ledger.append(entry) }
        }
        tell(lost, isDamaged: damage != nil)
        if damage == nil, lost.isEmpty { return ledger }
        ledger.close()
        return try Ledger(path: path)
    }

    private func tell(_ lost: [LedgerEntry], isDamaged: Bool) {
        var sum = Amount.zero
        var count = 0
        for entry in lost {
            switch entry {
            case .acceptingInvoice(_, _, let amount), .acceptingNote(_, _, _, let amount):
                sum = sum + amount
                count += 1
            default: break
            }
        }
        if count > 0 {
            emit(
                RentalEvent(
                    .leftover, "the daemon knows \(count) accepted bills that the ledger had lost; they count again",
                    amount: sum))
        } else if isDamaged {
            emit(RentalEvent(.leftover, "the daemon knows no accepted bill that the ledger had lost"))
        }
    }

    /// What the daemon knows to be promised in this run and the entries do not tell.
    func missing(from entries: [LedgerEntry], run: String) async throws -> [LedgerEntry] {
        var known = PaymentStateMachine(budget: .zero, replaying: entries)
        let promised: Set<DocumentStatus> = [.accepted, .settled]
        let invoices = try await client.payment.invoices().filter { promised.contains($0.status) }
        let notes = try await client.payment.debitNotes().filter { promised.contains($0.status) }
        var lost: [LedgerEntry] = []
        func add(_ entry: LedgerEntry) {
            lost.append(entry)
            known.replay(entry)
        }
        for id in Set(invoices.map(\.agreementID) + notes.map(\.agreementID)).sorted()
        where known.contract(of: id) == nil {
            // Bills of other runs and of other programs are not ours.
            guard let agreement = try? await client.market.agreement(id),
                agreement.appSession?.hasPrefix(run + "-") == true, let price = agreement.offer.price
            else { continue }
            let contract = Contract(
                providerID: agreement.providerID, providerName: agreement.offer.nodeName, price: price,
                threads: max(1, agreement.offer.threads ?? 1))
            add(.agreement(id, contract, at: agreement.approvedDate ?? .now()))
        }
        for note in notes where known.contract(of: note.agreementID) != nil {
            guard known.promised(for: note.activityID, under: note.agreementID) ?? .zero < note.totalAmountDue else {
                continue
            }
            if !known.knows(note.activityID, under: note.agreementID) {
                add(.activity(note.activityID, note.agreementID, at: note.timestamp ?? .now()))
            }
            add(.acceptingNote(note.id, note.activityID, note.agreementID, note.totalAmountDue))
            add(.accepted(BillID(note.id)))
        }
        for invoice in invoices where known.contract(of: invoice.agreementID) != nil {
            guard !known.hasPromised(invoice.id, under: invoice.agreementID) else { continue }
            add(.acceptingInvoice(invoice.id, invoice.agreementID, invoice.amount))
            add(.accepted(BillID(invoice.id)))
            if invoice.status == .settled { add(.settled(invoice.id)) }
        }
        return lost
    }
}

extension PaymentStateMachine {
    fileprivate func knows(_ activity: ActivityID, under agreement: AgreementID) -> Bool {
        accounts[agreement]?.activities[activity] != nil
    }

    /// What the accepted notes of an activity promise.
    fileprivate func promised(for activity: ActivityID, under agreement: AgreementID) -> Amount? {
        accounts[agreement]?.activities[activity]?.promised
    }

    /// Whether an invoice counts as promised, taken by the daemon or not.
    fileprivate func hasPromised(_ invoice: InvoiceID, under agreement: AgreementID) -> Bool {
        switch accounts[agreement]?.invoice {
        case .accepting(invoice, _)?, .accepted(invoice, _)?, .settled(invoice, _)?: true
        default: false
        }
    }
}
