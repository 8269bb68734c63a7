/// What is known of the money of one agreement.
extension PaymentStateMachine {
    struct ActivityAccount: Sendable, Equatable {
        var startedAt: Timestamp
        var endedAt: Timestamp?
        /// The highest due amount that we accepted or are accepting.
        var promised: Amount?
        var billed = Amount.zero
        /// Processor seconds at some time, as the provider reported them.
        var cpu: (seconds: Double, at: Timestamp)?

        static func == (left: ActivityAccount, right: ActivityAccount) -> Bool {
            left.startedAt == right.startedAt && left.endedAt == right.endedAt && left.promised == right.promised
        }
    }

    enum Bill: Sendable, Equatable {
        case none
        case accepting(InvoiceID, Amount)
        case accepted(InvoiceID, Amount)
        case settled(InvoiceID, Amount)
        case rejected(InvoiceID, Amount, String)
        case givenUp
        /// The agreement never came about.
        case notDue

        /// Of the invoice that came.
        var id: BillID? {
            switch self {
            case .accepting(let id, _), .accepted(let id, _), .settled(let id, _), .rejected(let id, _, _): BillID(id)
            case .none, .givenUp, .notDue: nil
            }
        }
    }

    struct Account: Sendable, Equatable {
        var contract: Contract
        /// Driver, network and token that were agreed; `nil` in ledgers that do not say.
        var platform: String?
        var activities: [ActivityID: ActivityAccount] = [:]
        /// Activities that were asked for and whose names are not known; the oldest first.
        var unnamed: [ActivityAccount] = []
        var isEnded = false
        var unusable: String?
        /// Why no more of its notes are accepted.
        var refusal: String?
        var invoice = Bill.none

        /// What we promised to pay, and can be held to.
        var promised: Amount {
            let notes = activities.values.reduce(Amount.zero) { $0 + ($1.promised ?? .zero) }
            switch invoice {
            case .accepting(_, let amount), .accepted(_, let amount), .settled(_, let amount): return max(notes, amount)
            case .none, .rejected, .givenUp, .notDue: return notes
            }
        }

        /// Whether anything was asked of the provider that it may bill.
        var mayOwe: Bool { !activities.isEmpty || !unnamed.isEmpty }

        var isOpen: Bool {
            switch invoice {
            case .none, .accepting: true
            default: false
            }
        }
    }

    struct PendingNote: Sendable, Equatable {
        var agreement: AgreementID
        var activity: ActivityID
        var amount: Amount
        /// What was promised for the activity before.
        var before: Amount?
    }

    package struct UnnamedAllocation: Sendable, Equatable {
        package var total: Amount
        package var timeout: Timestamp
    }
}
