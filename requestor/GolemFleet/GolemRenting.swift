import Fleets
import Golem
import Tensors

/// The real renting: the daemon's client, the image, the pool, the money.
struct GolemRenting: Sendable {
    let settings: GolemSettings
    let client: GolemClient
    let image: ImageSource
    let ledgers: String

    init(settings: GolemSettings, folder: String) throws(DeMLError) {
        client = try settings.client()
        guard let image = settings.image else {
            throw DeMLError(
                .usage, "no image was given",
                hint: "`make image` makes provider-image/deml-worker.gvmi; give it with --image, or one of others with "
                    + "--image-url and --image-hash, or --image-tag")
        }
        self.settings = settings
        self.image = image
        ledgers = folder + "/ledgers"
        try Files.createDirectory(ledgers)
    }

    func callAsFunction(
        _ request: GolemFleet.RentingRequest, _ body: @Sendable @escaping (any MachineSource) async throws -> Void
    ) async throws {
        try await ImageProvision.with(image, client: client, registry: settings.registry) { package in
            let plan = plan(request, package)
            let requestor = Requestor(client: client, plan: plan)
            let outcome: Result<Void, any Error>
            do {
                try await requestor.run { pool in
                    if let least = settings.minimumMachines, least > 1 {
                        _ = try await pool.waitForMachines(
                            min(least, plan.machines), limit: .seconds(settings.startTimeout))
                    }
                    try await body(RentedMachines(pool: pool, settled: { settings.expenses($0) }))
                }
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            request.onExpenses(settings.expenses(await requestor.expenses()))
            try outcome.get()
        }
    }

    private func plan(_ request: GolemFleet.RentingRequest, _ package: TaskPackage) -> RentalPlan {
        var plan = RentalPlan(
            machines: request.machines, image: package, budget: settings.budget, priceLimits: settings.priceLimits,
            subnet: settings.subnet, network: settings.network, ledgerFolder: ledgers, runName: request.runName)
        plan.driver = settings.driver
        plan.minimumMemoryGiB = settings.minimumMemoryGiB
        plan.minimumStorageGiB = settings.minimumStorageGiB
        plan.minimumCores = settings.minimumCores
        plan.patience = .seconds(settings.startTimeout)
        plan.score = request.score
        plan.onEvent = request.onEvent
        return plan
    }
}

extension GolemSettings {
    /// The client's table of costs as the run folder and the command show it.
    func expenses(_ lines: [Expense]) -> Expenses {
        Expenses(
            costGLM: lines.reduce(Amount.zero) { $0 + $1.accepted }.glm,
            agreements: lines.map { line in
                AgreementExpense(
                    provider: Provider(id: line.providerID.rawValue, name: line.providerName),
                    agreement: line.agreementID.rawValue, tasks: 0, seconds: line.seconds, billedGLM: line.billed.glm,
                    paidGLM: line.accepted.glm,
                    state: line.state.rawValue, reason: line.reason)
            })
    }
}
