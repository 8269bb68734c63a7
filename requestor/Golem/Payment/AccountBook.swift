/// The accounts of all agreements. What is asked of them with every bill is kept as they change: a run may have thousands.
struct AccountBook: Sendable {
    typealias Account = PaymentStateMachine.Account

    private(set) var byID: [AgreementID: Account] = [:]
    private var agreements: [BillID: AgreementID] = [:]
    /// The sum of what is promised in all.
    private(set) var promised = Amount.zero

    subscript(id: AgreementID) -> Account? {
        get { byID[id] }
        set {
            let old = byID[id]
            byID[id] = newValue
            let next = promised - (old?.promised ?? .zero) + (newValue?.promised ?? .zero)
            // Where a sum was cut to the largest amount there is, differences say nothing.
            promised = max(promised, next) < .largest ? next : byID.values.reduce(.zero) { $0 + $1.promised }
            if old?.invoice == newValue?.invoice { return }
            if let bill = old?.invoice.id, agreements[bill] == id { agreements[bill] = nil }
            if let bill = newValue?.invoice.id { agreements[bill] = id }
        }
    }

    /// The agreement whose account has this invoice, whatever became of it.
    func agreement(withInvoice bill: BillID) -> AgreementID? { agreements[bill] }

    /// One account; the sums are those of all.
    func only(_ id: AgreementID) -> AccountBook {
        var book = AccountBook()
        book.byID[id] = byID[id]
        book.promised = promised
        return book
    }
}
