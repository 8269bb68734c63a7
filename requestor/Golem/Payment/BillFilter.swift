/// A debit note or an invoice that has come, as ``RentalPlan/billObjection`` sees it.
public struct ReceivedBill: Sendable, Equatable {
    public enum Kind: String, Sendable { case debitNote, invoice }

    public var kind: Kind
    public var id: BillID
    public var agreementID: AgreementID
    public var providerID: NodeID
    public var providerName: String
    /// Of an invoice: all of the agreement. Of a debit note: all of one activity so far.
    public var amount: Amount
    /// What the provider says was used, in the order of the offer's usage vector; of debit notes.
    public var usage: [Double]?
}

extension Treasurer {
    /// Asks the author of the plan about a bill. One that is refused is not paid, and its agreement is ended; the invoice
    /// that follows is rejected with the same reason. Returns whether the bill may go on to be checked by price and clock.
    func passes(_ note: DebitNote) async -> Bool {
        guard note.status == .received else { return true }
        return await passes(.debitNote, BillID(note.id), note.agreementID, note.totalAmountDue, note.usage)
    }

    func passes(_ invoice: Invoice) async -> Bool {
        guard invoice.status == .received else { return true }
        return await passes(.invoice, BillID(invoice.id), invoice.agreementID, invoice.amount, nil)
    }

    private func passes(
        _ kind: ReceivedBill.Kind, _ id: BillID, _ agreement: AgreementID, _ amount: Amount, _ usage: [Double]?
    ) async -> Bool {
        guard let billObjection, let contract = machine.contract(of: agreement) else { return true }
        let bill = ReceivedBill(
            kind: kind, id: id, agreementID: agreement, providerID: contract.providerID,
            providerName: contract.providerName, amount: amount, usage: usage)
        guard let reason = await billObjection(bill) else { return true }
        await payNothing(for: agreement, reason: reason)
        guard kind == .debitNote else { return true }
        emit(
            RentalEvent(
                .billRefused, reason, providerID: contract.providerID, providerName: contract.providerName,
                agreementID: agreement, amount: amount))
        await end(agreement, reason: reason)
        return false
    }
}
