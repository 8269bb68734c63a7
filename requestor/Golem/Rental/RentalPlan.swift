#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What is to be rented, for how much, and how it is paid.
public struct RentalPlan: Sendable {
    /// How many machines are kept. A lost one is replaced.
    public var machines: Int
    /// The image that each machine runs.
    public var image: ImageSource
    /// The registry that is asked what a tag of an image stands for.
    public var registry = ImageRegistry.golem
    /// The most that all acceptances together may come to. Also what is allocated.
    public var budget: Amount
    /// What an offer may cost at most.
    public var priceLimits: PriceLimits
    /// Nodes that are not to be rented from, and why.
    public var banned: [NodeID: String] = [:]
    /// Only nodes of the same subnet meet.
    public var subnet: String
    /// `hoodi`, `holesky`, `polygon`, …
    public var network: String
    /// How is paid; with ``network`` it makes the ``paymentPlatform``.
    public var driver: String = "erc20"
    /// Shown to providers.
    public var nodeName: String?
    /// `vm` runs images.
    public var runtime: String = "vm"
    /// GiB (2³⁰ bytes) of memory that a machine must have.
    public var minimumMemoryGiB: Double = 0.5
    /// GiB of disk.
    public var minimumStorageGiB: Double = 1
    /// Processor cores.
    public var minimumCores: Int = 1
    /// Conditions beside those that follow from the fields above.
    public var constraints: [Constraint] = []
    /// Properties of the demand beside those that follow from the fields above.
    public var properties: [String: JSON] = [:]
    /// Which offers may be taken, beside those that limits and sizes rule out; all must agree.
    public var filters: [OfferFilter] = []
    /// What the machines may reach outside; `nil`: nothing.
    public var outbound: OutboundAccess?
    /// A manifest that was made elsewhere, instead of the one that follows from image and ``outbound``.
    public var manifest: Manifest?
    /// A private network that the machines take part in.
    public var virtualNetwork: VirtualNetwork?
    /// Commands that make a machine ready, run once in each.
    public var preparation: [Command] = [.deploy, .start()]
    /// The most that preparation may take, the fetching of the image included.
    public var preparationLimit: Duration = .seconds(600)

    /// How long an agreement is meant to hold. Machines are exchanged for new ones before it ends.
    public var agreementDuration: Duration = .seconds(24 * 3600)
    /// How long before its end an agreement is given up for a new one.
    public var renewalMargin: Duration = .seconds(180)
    /// The most seconds within which we promise to accept a debit note; less where the offer wants less.
    public var acceptTimeout: Int = 120
    /// Seconds between debit notes that we ask for.
    public var debitNoteInterval: Int = 120
    /// The most seconds within which a debit note that is due must be paid.
    public var paymentTimeout: Int = 43_200
    /// How long a provider may take to answer an agreement.
    public var answerLimit: Duration = .seconds(30)
    /// How long a provider may take to answer a proposal. An agent that is there does so in a second or two; the offer of one
    /// that was ended abruptly stays in the market for a while, and nobody answers for it.
    public var proposalLimit: Duration = .seconds(10)
    /// How long an activity may take to come up.
    public var activityLimit: Duration = .seconds(60)

    /// Funds that were set aside before, to pay from instead of from an allocation of this run's own. It is neither
    /// prolonged nor released; several runs may share it, each within its budget.
    public var allocation: AllocationID?
    /// The allocation's own time-out, prolonged while the run goes on. After a crash the funds are free that much later.
    public var allocationTimeout: Duration = .seconds(3600)
    /// How long final invoices are waited for at the end.
    public var invoiceLimit: Duration = .seconds(30)
    /// By how much a bill may pass what our own clock says.
    public var tolerance = BillTolerance()
    /// Why a bill is not to be paid, whatever price and clock say; `nil` if it may be. Asked before they are.
    public var billObjection: (@Sendable (ReceivedBill) async -> String?)?
    /// How long ``MachinePool/next(excluding:)`` waits while there is no machine that suits it, nor one being prepared. It
    /// gives up sooner when all that offered something were tried and failed, and nobody else comes.
    public var patience: Duration = .seconds(120)
    /// How long our own daemon may be away, e.g. while it restarts. Agreements go on meanwhile.
    public var daemonPatience: Duration = .seconds(600)
    /// A provider that failed this many times in a run is left.
    public var failuresAllowed: Int = 2

    /// Folder of ledgers, one file a run. Runs that left something behind are found here.
    public var ledgerFolder: String
    /// Name of this run, also of its ledger. A run that is resumed under its name goes on with the same budget.
    public var runName: String

    /// Judges an offer: what its work is expected to cost, in any unit; smaller is better, `nil` is never. The default is
    /// the price of an hour. A machine in use is exchanged for one that costs less than ``exchangeBelow`` of it.
    public var score: @Sendable (Candidate) -> Double? = { $0.hourlyCost }
    /// The share of a machine's score that another's must be below to take its place while it works; 0 is never.
    public var exchangeBelow: Double = 0.5
    /// Told of everything that happens, in order.
    public var onEvent: @Sendable (RentalEvent) -> Void = { _ in }

    /// A plan for an image whose address and hash are known, that takes nothing from the environment.
    public init(
        machines: Int, image: TaskPackage, budget: Amount, priceLimits: PriceLimits, subnet: String = "public",
        network: String = "hoodi", ledgerFolder: String, runName: String
    ) {
        self.init(
            machines: machines, source: ImageSource(image), budget: budget, priceLimits: priceLimits, subnet: subnet,
            network: network, ledgerFolder: ledgerFolder, runName: runName)
    }

    init(
        machines: Int, source: ImageSource, budget: Amount, priceLimits: PriceLimits, subnet: String, network: String,
        ledgerFolder: String, runName: String
    ) {
        self.machines = machines
        image = source
        self.budget = budget
        self.priceLimits = priceLimits
        self.subnet = subnet
        self.network = network
        self.ledgerFolder = ledgerFolder
        self.runName = runName
    }

    /// What an offer must be, as it follows from the fields above.
    public var offerPolicy: OfferPolicy {
        OfferPolicy(
            subnet: subnet, runtime: runtime, paymentPlatform: paymentPlatform, minimumMemoryGiB: minimumMemoryGiB,
            minimumStorageGiB: minimumStorageGiB, minimumCores: minimumCores, priceLimits: priceLimits, banned: banned)
    }

    /// `erc20-hoodi-tglm`: test networks have test GLM.
    public var paymentPlatform: String { RentalPlan.paymentPlatform(driver: driver, network: network) }
}

/// An offer as a score sees it.
public struct Candidate: Sendable, Equatable {
    /// Whose offer it is.
    public var providerID: NodeID
    /// What is offered.
    public var offer: Offer
    /// How often this provider failed in this run.
    public var failures: Int

    /// For a score that is to be tried.
    public init(providerID: NodeID, offer: Offer, failures: Int) {
        self.providerID = providerID
        self.offer = offer
        self.failures = failures
    }

    /// The provider's name, for people.
    public var providerName: String { offer.nodeName }

    /// GLM for an hour of work with all threads busy, the start included; `nil` where the price cannot be told.
    public var hourlyCost: Double? {
        offer.price.map { $0.start + $0.perHour(threads: max(1, offer.threads ?? 1)) }
    }
}

/// By how much a bill may pass price × our own clock.
///
/// Our clock starts when the activity is asked for and stops when its end is confirmed, so an honest bill is never
/// above it; the tolerance is for clocks that run at different speeds.
public struct BillTolerance: Sendable, Equatable {
    /// Of the amount: 0.02 is 2 %.
    public var relative: Double
    /// Seconds of running time.
    public var seconds: Double

    /// `relative`: a share of the amount; `seconds`: running time.
    public init(relative: Double = 0.02, seconds: Double = 2) {
        self.relative = relative
        self.seconds = seconds
    }
}

/// Something that happened while machines are rented.
public struct RentalEvent: Sendable, CustomStringConvertible {
    /// What it is about.
    public enum Kind: String, Sendable {
        case leftover, allocated, released, demand, market, offer, offerRefused, negotiation, agreement, activity,
            machineReady
        case machineLost, machineClosed, providerLeft, debitNote, invoice, billRefused, budget, daemon, warning
        /// Something that is waited for at the end.
        case waiting
    }

    /// What it is about.
    public var kind: Kind
    /// By this computer's clock.
    public var date: Timestamp
    /// For a person; from strangers' text nothing but printable characters is left.
    public var message: String
    /// Whom it is about, if somebody.
    public var providerID: NodeID?
    /// Its name.
    public var providerName: String?
    /// Of an event of an agreement.
    public var agreementID: AgreementID?
    /// Of an event of an activity.
    public var activityID: ActivityID?
    /// Of an event of money.
    public var amount: Amount?
    /// Of ``Kind/market``: where the renting stands.
    public var overview: MarketOverview?

    public init(
        _ kind: Kind, _ message: String, date: Timestamp = .now(), providerID: NodeID? = nil,
        providerName: String? = nil, agreementID: AgreementID? = nil, activityID: ActivityID? = nil,
        amount: Amount? = nil
    ) {
        self.kind = kind
        self.date = date
        self.message = message
        self.providerID = providerID
        self.providerName = providerName
        self.agreementID = agreementID
        self.activityID = activityID
        self.amount = amount
    }

    public var description: String {
        let who = providerName.map { "\($0): " } ?? ""
        let what = amount.map { " (\($0) GLM)" } ?? ""
        return "\(kind.rawValue): \(who)\(message)\(what)"
    }
}

/// One line of the table of costs: an agreement, what was billed for it and what was accepted.
public struct Expense: Sendable, Equatable {
    public enum State: String, Sendable {
        /// The agreement is not over, or its invoice did not come yet.
        case open
        /// The invoice was accepted; the daemon pays it.
        case accepted
        case settled
        /// The invoice was rejected: see `reason`.
        case rejected
        /// No invoice came within the time allowed.
        case noInvoice
        /// An acceptance was written down, but its outcome is not known.
        case uncertain
    }

    /// The run it belongs to.
    public var runName: String
    /// Who was rented from.
    public var providerID: NodeID
    /// Its name.
    public var providerName: String
    /// One line an agreement.
    public var agreementID: AgreementID
    /// Its invoice, if one came.
    public var invoiceID: InvoiceID?
    /// How long its activities ran, by our clock.
    public var seconds: Double
    /// What the invoice, or the newest debit notes, ask for.
    public var billed: Amount
    /// What we promised to pay.
    public var accepted: Amount
    /// What became of the bill.
    public var state: State
    /// Why it was refused, or is not certain.
    public var reason: String?
}
