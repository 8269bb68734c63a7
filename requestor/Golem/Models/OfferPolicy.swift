/// What an offer must be to be taken: the one place that says so, for negotiations, surveys and checks alike.
///
/// The criteria are applied in the order of ``Criterion/allCases``; the first that is not met is the objection.
public struct OfferPolicy: Sendable, Equatable {
    public enum Criterion: Int, Sendable, CaseIterable {
        case subnet, runtime, payment, transfer, memory, storage, cores, pricing, price, node
    }

    /// Why an offer is not taken.
    public struct Objection: Sendable, Equatable, CustomStringConvertible {
        public var criterion: Criterion
        /// The same words for all offers that are refused for it, to be counted: `too dear`.
        public var group: String
        /// What is wrong with this one.
        public var description: String
    }

    public var subnet: String
    public var runtime: String
    /// E.g. `erc20-hoodi-tglm`.
    public var paymentPlatform: String
    public var minimumMemoryGiB: Double
    public var minimumStorageGiB: Double
    public var minimumCores: Int
    public var priceLimits: PriceLimits
    /// Nodes that are never taken, and why.
    public var banned: [NodeID: String]

    public init(
        subnet: String, runtime: String = "vm", paymentPlatform: String, minimumMemoryGiB: Double = 0,
        minimumStorageGiB: Double = 0, minimumCores: Int = 1, priceLimits: PriceLimits = PriceLimits(),
        banned: [NodeID: String] = [:]
    ) {
        self.subnet = subnet
        self.runtime = runtime
        self.paymentPlatform = paymentPlatform
        self.minimumMemoryGiB = minimumMemoryGiB
        self.minimumStorageGiB = minimumStorageGiB
        self.minimumCores = minimumCores
        self.priceLimits = priceLimits
        self.banned = banned
    }

    /// `nil` if the offer may be taken.
    public func objection(to offer: Offer, of node: NodeID) -> Objection? {
        for criterion in Criterion.allCases {
            if let objection = objection(criterion, offer, node) { return objection }
        }
        return nil
    }

    /// What a criterion asks for, for a person: `memory of 0.5 GiB`.
    public func name(of criterion: Criterion) -> String {
        switch criterion {
        case .subnet: "subnet \(subnet)"
        case .runtime: "virtual machine (\(runtime))"
        case .payment: "paid by \(paymentPlatform)"
        case .transfer: "files by gftp"
        case .memory: "memory of \(JSON(minimumMemoryGiB)) GiB"
        case .storage: "disk of \(JSON(minimumStorageGiB)) GiB"
        case .cores: "\(minimumCores) \(minimumCores == 1 ? "core" : "cores")"
        case .pricing: "a price that can be told"
        case .price: "price limits"
        case .node: "not excluded"
        }
    }

    private func objection(_ criterion: Criterion, _ offer: Offer, _ node: NodeID) -> Objection? {
        func because(_ group: String, _ text: String? = nil) -> Objection {
            Objection(criterion: criterion, group: group, description: text ?? group)
        }
        switch criterion {
        case .subnet:
            return offer.subnet == subnet ? nil : because("in another subnet", "subnet \(offer.subnet ?? "-")")
        case .runtime:
            return offer.runtime == runtime ? nil : because("no \(runtime)", "runtime \(offer.runtime ?? "-")")
        case .payment:
            return offer.paymentPlatforms.contains(paymentPlatform) ? nil : because("takes no \(paymentPlatform)")
        case .transfer:
            // An offer that names no protocol has them all.
            let protocols = offer.transferProtocols
            return protocols.isEmpty || protocols.contains("gftp") ? nil : because("cannot transfer files by gftp")
        case .memory:
            let memory = offer.memoryGiB ?? 0
            return memory >= minimumMemoryGiB ? nil : because("too little memory", "memory \(rounded(memory)) GiB")
        case .storage:
            let storage = offer.storageGiB ?? 0
            return storage >= minimumStorageGiB ? nil : because("too little disk", "disk \(rounded(storage)) GiB")
        case .cores:
            let cores = offer.cores ?? offer.threads ?? 0
            return cores >= minimumCores ? nil : because("too few cores", "\(cores) cores")
        case .pricing:
            guard let price = offer.price else {
                return because("its price cannot be told", "its price is not linear or contradicts itself")
            }
            return price.hasUnknownCounters
                ? because("its price cannot be told", "it bills counters that time does not bound") : nil
        case .price:
            return priceLimits.objection(to: offer).map { because("too dear", $0) }
        case .node:
            return banned[node].map { because("excluded", "excluded: \($0)") }
        }
    }

    private func rounded(_ value: Double) -> JSON {
        JSON((value * 1000).rounded() / 1000)
    }
}
