import Waiting

/// Performs what the pool's state machine decides, and carries events between the daemon, the rentals and the pool.
actor Engine {
    let plan: RentalPlan
    let client: GolemClient
    let treasurer: Treasurer
    let decorations: Decorations
    /// The tag under which the daemon files the events of our agreements.
    let session: String
    private var pool: PoolStateMachine
    private var demand: DemandID?
    private var contexts: [RentalID: RentalContext] = [:]
    private var offers: [ProposalID: (proposal: Proposal, demand: DemandID)] = [:]
    /// Rentals by the id of our proposal, and drafts that came before that id was known.
    private var rentalsByProposal: [ProposalID: RentalID] = [:]
    private var earlyDrafts: [ProposalID: Proposal] = [:]
    private var rentalsByAgreement: [AgreementID: RentalID] = [:]
    private var answers: [Int: OneShot<Result<Machine, GolemError>>] = [:]
    private var nextTicket = 0
    private var sharedFiles = SharedFiles()
    private let policy: OfferPolicy
    /// What was said last of the market, and when.
    private var overview: (line: String, at: Timestamp, wasShort: Bool)?
    private var shortSince: Timestamp?
    private let orders: AsyncStream<Order>
    private let orderInput: AsyncStream<Order>.Continuation

    enum Order: Sendable {
        case rent(RentalContext)
        case withdraw(DemandID)
        case serve(SharedFile)
    }

    init(plan: RentalPlan, client: GolemClient, treasurer: Treasurer, decorations: Decorations, session: String) {
        self.plan = plan
        self.client = client
        self.treasurer = treasurer
        self.decorations = decorations
        self.session = session
        var settings = PoolStateMachine.Settings(target: plan.machines)
        settings.failuresAllowed = plan.failuresAllowed
        settings.patience = plan.patience
        settings.renewalMargin = plan.renewalMargin
        settings.exchangeBelow = plan.exchangeBelow
        pool = PoolStateMachine(settings: settings)
        policy = plan.offerPolicy
        (orders, orderInput) = AsyncStream.makeStream()
    }

    nonisolated func emit(_ event: RentalEvent) { plan.onEvent(event) }

    // MARK: Tasks

    /// Carries out orders until cancelled; every rental is a child task.
    func carryOutOrders() async {
        await withDiscardingTaskGroup { group in
            for await order in orders {
                switch order {
                case .rent(let context): group.addTask { await self.live(context) }
                case .withdraw(let demand):
                    group.addTask { try? await self.client.market.unsubscribe(demand) }
                case .serve(let file): group.addTask { await file.serve(by: self.client) }
                }
            }
        }
    }

    /// How long the end waits for our own daemon.
    var endPatience: Duration { min(.seconds(60), plan.daemonPatience) }

    /// Says once that our own daemon is away, and once that it is there again; and once that it, or we, cannot keep up.
    func watchDaemon() async {
        var longest: Duration?
        var slow = Duration.zero
        var isSlownessTold = false
        while true {
            // A run may end soon after its daemon is back: a last look, so that both are said.
            let isLast = Task.isCancelled
            let away = client.watch.awayFor()
            if longest == nil, let away, away > DaemonWatch.hiccup {
                let what = "our own daemon does not answer: it is waited for, and nothing is late meanwhile"
                emit(RentalEvent(.daemon, "\(what) (\(client.watch.reason))"))
            }
            if let away, away > DaemonWatch.hiccup { longest = away }
            if away == nil, let time = longest {
                emit(RentalEvent(.daemon, "our own daemon answers again, after \(time.text)"))
                longest = nil
            }
            slow = client.watch.delay > DaemonWatch.hiccup ? slow + Self.lookInterval : .zero
            if slow > .seconds(5), !isSlownessTold {
                isSlownessTold = true
                let what = "this computer has too much to do, its daemon answers after \(client.watch.delay.text)"
                emit(RentalEvent(.daemon, "\(what): providers get more time; fewer machines may be faster"))
            }
            if isLast { return }
            try? await Task.sleep(for: Self.lookInterval)
        }
    }

    private static let lookInterval = Duration.milliseconds(250)

    func tick(every interval: Duration) async {
        while !Task.isCancelled {
            let now = Timestamp.now()
            // While our own daemon is away nothing can be rented, and nobody waits in vain.
            if client.watch.wasAway(within: .zero) {
                pool.clockStoodStill(now)
            } else {
                perform(pool.clockTicked(now))
            }
            tellOverview(now)
            try? await Task.sleep(for: interval)
        }
    }

    /// Says how the renting goes while machines are missing, and once more when all are there: at most once a second, and
    /// more rarely when it takes long.
    private func tellOverview(_ now: Timestamp) {
        let current = pool.overview(at: now)
        let isShort = current.ready < current.wanted
        if !isShort { shortSince = nil } else if shortSince == nil { shortSince = now }
        guard !pool.isStopped, isShort || overview?.wasShort ?? false else { return }
        let pause: Duration = shortSince.map { now - $0 > .seconds(120) } ?? false ? .seconds(10) : .seconds(1)
        if let overview, isShort, overview.line == current.line || now - overview.at < pause { return }
        overview = (current.line, now, isShort)
        var event = RentalEvent(.market, current.line)
        event.overview = current
        emit(event)
    }

    /// Keeps a demand published and reads its events until cancelled.
    func followDemand() async {
        while !Task.isCancelled {
            do {
                let id = try await publish(try demandBody(for: nil))
                demand = id
                emit(RentalEvent(.demand, "published the demand"))
                while !Task.isCancelled {
                    for event in try await client.market.demandEvents(id, timeout: .seconds(10), maxEvents: 100) {
                        received(event, demand: id)
                    }
                }
            } catch let error as GolemError where error.code == .notFound {
                // Withdrawn by us to hear of known offers again, or its hour is over.
                continue
            } catch {
                if Task.isCancelled { break }
                if !error.isOurDaemons { emit(RentalEvent(.warning, "the market does not answer: \(error)")) }
                try? await Task.sleep(for: .milliseconds(500))
                if let demand { try? await client.market.unsubscribe(demand) }
            }
        }
        if let demand { await shielded { [client] in try? await client.market.unsubscribe(demand) } }
    }

    /// Publishes a demand; one that was sent is not forgotten, though we are being stopped or its answer is lost.
    private func publish(_ body: Demand) async throws -> DemandID {
        do {
            return try await shielded { [client] in try await client.market.subscribe(body) }
        } catch let error as GolemError where error.isOurDaemons {
            let known = try await client.waitingForDaemon(patience: plan.daemonPatience) { [client] in
                try await client.market.demands()
            }
            // The time at which it ends, in milliseconds, is as good as a name.
            let key = PropertyName.expiration
            guard let lost = known.first(where: { $0.properties[key] == body.properties[key] }) else { throw error }
            return lost.id
        }
    }

    func followAgreements(since: Timestamp) async {
        var after = EventTime(since)
        while !Task.isCancelled {
            do {
                let events = try await client.market.agreementEvents(
                    session: session, after: after.next(by: client.watch), timeout: .seconds(10))
                for event in await after.new(of: events, { $0.date }, by: client.watch) {
                    after.seen(event.date, by: client.watch)
                    guard event.kind == .terminated, event.terminator != "Requestor",
                        let rental = rentalsByAgreement[event.agreementID]
                    else { continue }
                    let code = event.providerCode.map { " (\($0))" } ?? ""
                    await treasurer.agreementEnded(event.agreementID, providerAnswers: true)
                    guard let context = contexts[rental] else { continue }
                    // By our clock, not by what the provider says; a minute is for clocks that differ.
                    let isOver = context.expiration - .now() < .seconds(60)
                    // Nor is it to blame when it could not reach us for so long.
                    let isOurs = client.watch.wasAway(within: .seconds(120))
                    context.mailbox.yield(.agreementEnded(event.reason + code, blame: !isOver && !isOurs))
                }
            } catch {
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    // MARK: Market events

    private func received(_ event: DemandEvent, demand: DemandID) {
        switch event {
        case .proposal(let proposal) where proposal.state == .initial:
            offerCame(proposal, demand: demand)
        case .proposal(let proposal) where proposal.state == .draft:
            guard let previous = proposal.previousID else { return }
            if let rental = rentalsByProposal[previous] {
                draftCame(proposal, for: rental)
            } else {
                if earlyDrafts.count > 1000 { earlyDrafts = [:] }
                earlyDrafts[previous] = proposal
            }
        case .rejected(let ours, let reason, let isFinal):
            guard let rental = rentalsByProposal[ours] else { return }
            contexts[rental]?.mailbox.yield(.proposalRejected(reason, isFinal: isFinal))
        default:
            return
        }
    }

    private func offerCame(_ proposal: Proposal, demand: DemandID) {
        guard !pool.isStopped else { return }
        let offer = proposal.offer
        let candidate = Candidate(
            providerID: proposal.issuerID, offer: offer, failures: pool.providers[proposal.issuerID]?.failures ?? 0)
        let objection =
            policy.objection(to: offer, of: proposal.issuerID)
            ?? plan.filters.objection(to: candidate).map {
                OfferPolicy.Objection(criterion: .node, group: "turned down by a filter", description: $0)
            }
        let score = objection == nil ? plan.score(candidate) : nil
        Telemetry.offer(isRefused: score == nil)
        if let objection {
            emit(
                RentalEvent(
                    .offerRefused, objection.description, providerID: proposal.issuerID, providerName: offer.nodeName))
        } else {
            emit(RentalEvent(.offer, "offer", providerID: proposal.issuerID, providerName: offer.nodeName))
        }
        // An offer that is refused, or worse than enough others, is left unanswered: it expires by itself, and a call for
        // each of a large market would hold up those that matter.
        offers[proposal.id] = (proposal, demand)
        perform(
            pool.offerCame(
                proposal.id, from: proposal.issuerID, name: offer.nodeName, terms: offer.properties.hashValue,
                score: score, objection: objection?.group ?? (score == nil ? "turned down by its score" : nil),
                at: .now()))
    }

    private func draftCame(_ draft: Proposal, for rental: RentalID) {
        guard let context = contexts[rental] else { return }
        // The answer may not be dearer than what was offered.
        if let objection = policy.objection(to: draft.offer, of: draft.issuerID) {
            context.mailbox.yield(.close(code: "Cancelled", reason: "its answer: \(objection)", blame: true))
        } else if draft.offer.price != context.proposal.offer.price {
            context.mailbox.yield(
                .close(code: "Cancelled", reason: "it changed its price while negotiating", blame: true))
        } else {
            context.draftOffer.set(draft.offer)
            context.mailbox.yield(.draft(draft.id))
        }
    }

    /// The demand, or its form as an answer to an offer: what providers want negotiated is taken from the offer.
    func demandBody(for offer: Offer?, expiration: Timestamp? = nil) throws -> Demand {
        let expiration = expiration ?? self.expiration(for: offer)
        var properties: [String: JSON] = [
            PropertyName.expiration: JSON(expiration.bySystemClock.milliseconds),
            PropertyName.taskPackage: .string(try plan.image.package.description),
            PropertyName.packageFormat: "gvmkit-squash", PropertyName.multiActivity: true,
            PropertyName.subnet: .string(plan.subnet), PropertyName.chosenPlatform: .string(plan.paymentPlatform),
            PropertyName.debitNoteInterval: JSON(plan.debitNoteInterval),
            PropertyName.paymentTimeout: JSON(plan.paymentTimeout),
        ]
        let extras = try plan.demandExtras()
        properties.merge(extras.properties) { own, _ in own }
        properties[PropertyName.nodeName] = plan.nodeName.map { .string($0) }
        // A provider takes no longer time than its offer says; without any it limits the agreement to 30 minutes.
        if let offer {
            properties[PropertyName.acceptTimeout] = offer.acceptTimeout.map { JSON(min($0, plan.acceptTimeout)) }
        } else {
            properties[PropertyName.acceptTimeout] = JSON(plan.acceptTimeout)
        }
        properties.merge(decorations.properties) { _, decoration in decoration }
        let constraints: [Constraint] =
            [
                .equal(PropertyName.subnet, plan.subnet), .equal(PropertyName.runtime, plan.runtime),
                .atLeast(PropertyName.memory, plan.minimumMemoryGiB),
                .atLeast(PropertyName.storage, plan.minimumStorageGiB),
                .atLeast(PropertyName.cores, Double(plan.minimumCores)), .equal(PropertyName.pricingModel, "linear"),
                .equal(PropertyName.paymentScheme, "payu"),
            ] + plan.constraints + extras.constraints + decorations.constraints.map { .verbatim($0) }
        return Demand(properties: properties, constraints: try Constraint.all(constraints).checked())
    }

    func expiration(for offer: Offer?) -> Timestamp {
        let limit: Duration = offer != nil && offer?.acceptTimeout == nil ? .seconds(25 * 60) : plan.agreementDuration
        return .now() + min(limit, plan.agreementDuration)
    }

    // MARK: Pool

    func perform(_ actions: [PoolStateMachine.Action]) {
        for action in actions {
            switch action {
            case .startRental(let id, _, let proposalID):
                guard let (proposal, demand) = offers.removeValue(forKey: proposalID) else {
                    // Taken before, and told again.
                    let outcome = RentalStateMachine.Outcome(
                        reason: "its offer was taken before", blame: false, wasTurnedDown: true, wasReady: false)
                    perform(pool.rentalClosed(id, outcome, at: .now()))
                    continue
                }
                let context = RentalContext(
                    id: id, proposal: proposal, demand: demand, expiration: expiration(for: proposal.offer))
                contexts[id] = context
                orderInput.yield(.rent(context))
            case .closeRental(let id, let code, let reason, let blame):
                contexts[id]?.session.value?.lost.set(
                    GolemError(.closed, "the machine was closed: \(reason)", place: contexts[id]?.label))
                contexts[id]?.mailbox.yield(.close(code: code, reason: reason, blame: blame))
            case .lend(let ticket, let id):
                guard let machine = contexts[id]?.machine.value else { continue }
                answers.removeValue(forKey: ticket)?.set(.success(machine))
            case .refuse(let ticket, let code, let reason):
                answers.removeValue(forKey: ticket)?.set(.failure(refusal(code, reason)))
            case .refreshDemand:
                if let demand { orderInput.yield(.withdraw(demand)) }
            case .leaveProvider(let id, let reason, let until):
                let minutes = until.map { ($0 - .now()).components.seconds / 60 + 1 }
                let time = minutes.map { "for \($0) min" } ?? "for this run"
                emit(
                    RentalEvent(
                        .providerLeft, "left \(time): \(reason)", providerID: id,
                        providerName: pool.rentals.values.first { $0.provider == id }?.name))
            case .forget(let proposal):
                offers[proposal] = nil
            case .retireWhenFree(let id, let reason):
                contexts[id]?.session.value?.retirement.set(reason)
            }
        }
    }

    private func refusal(_ code: GolemError.Code, _ reason: String) -> GolemError {
        switch code {
        case .noMachine:
            GolemError(
                .noMachine, "no machine could be rented within \(plan.patience): \(reason)",
                place: "subnet \(plan.subnet), \(plan.paymentPlatform)",
                hint: "raise the price limits, check subnet and network, or wait for providers")
        case .budget:
            GolemError(.budget, reason, hint: "give the run a larger budget")
        default:
            GolemError(code, reason)
        }
    }

    func ask(excluding: Set<NodeID>) -> (Int, OneShot<Result<Machine, GolemError>>) {
        nextTicket += 1
        let answer = OneShot<Result<Machine, GolemError>>()
        answers[nextTicket] = answer
        perform(pool.wanted(nextTicket, excluding: excluding, at: .now()))
        return (nextTicket, answer)
    }

    /// The asker went away; a machine that it was just given comes back.
    func withdraw(_ ticket: Int, _ answer: OneShot<Result<Machine, GolemError>>) {
        answers[ticket] = nil
        pool.notWanted(ticket)
        if case .success(let machine)? = answer.value { giveBack(machine) }
    }

    func worked(_ machine: Machine) { pool.worked(machine.rental) }

    func giveBack(_ machine: Machine) {
        if let reason = machine.lossReason {
            perform(
                pool.discarded(
                    machine.rental, reason: reason.message, blame: reason.isProvidersFault, at: .now()))
        } else {
            perform(pool.givenBack(machine.rental, at: .now()))
        }
    }

    func discard(_ machine: Machine, because reason: String, blame: Bool, pay: Bool) async {
        if !pay { await treasurer.workUnusable(machine.agreementID, reason: reason) }
        perform(pool.discarded(machine.rental, reason: reason, blame: blame, at: .now()))
    }

    /// The provider is not hired again, and what runs there ends.
    func leave(_ provider: NodeID, because reason: String, pay: Bool) async {
        if !pay { await treasurer.workUnusable(of: provider, reason: reason) }
        perform(pool.providerLeft(provider, reason: reason, at: .now()))
    }

    /// Half of the time in which its debit notes must be accepted, bills of this provider wait for ``releaseBills(of:)``.
    func holdBills(of provider: NodeID) async {
        var time = plan.acceptTimeout
        for context in contexts.values where context.proposal.issuerID == provider {
            time = min(time, context.proposal.offer.acceptTimeout ?? time)
        }
        await treasurer.holdBills(of: provider, patience: .seconds(Double(time) / 2))
    }

    func releaseBills(of provider: NodeID) async { await treasurer.releaseBills(of: provider) }

    /// A machine is about to fetch a file, until ``endServing(_:)``.
    func beginServing(_ version: SharedFiles.Version, path: String) -> SharedFile {
        let (file, isNew) = sharedFiles.begin(version, path: path)
        if isNew { orderInput.yield(.serve(file)) }
        return file
    }

    func endServing(_ version: SharedFiles.Version) { sharedFiles.end(version) }

    func setTarget(_ count: Int) { perform(pool.targetChanged(count, at: .now())) }
    var readyCount: Int { pool.readyCount }
    var machines: [MachineInfo] { pool.machines }

    // MARK: Rentals report here

    func countered(_ context: RentalContext, ours: ProposalID) {
        context.counter.set(ours)
        rentalsByProposal[ours] = context.id
        context.mailbox.yield(.countered(ours))
        if let draft = earlyDrafts.removeValue(forKey: ours) { draftCame(draft, for: context.id) }
    }

    func agreementKnown(_ id: AgreementID, _ context: RentalContext) { rentalsByAgreement[id] = context.id }
    func approved(_ context: RentalContext) { perform(pool.rentalApproved(context.id, at: .now())) }
    func ready(_ context: RentalContext) {
        perform(pool.rentalReady(context.id, expiration: context.expiration, at: .now()))
    }
    func lost(_ context: RentalContext) { perform(pool.rentalLost(context.id, at: .now())) }

    func closed(_ context: RentalContext, _ outcome: RentalStateMachine.Outcome) {
        contexts[context.id] = nil
        if let ours = context.counter.value { rentalsByProposal[ours] = nil }
        if let agreement = context.agreement.value { rentalsByAgreement[agreement] = nil }
        perform(pool.rentalClosed(context.id, outcome, at: .now()))
    }

    // MARK: Ends

    /// The treasurer wants an agreement ended.
    func endAgreement(_ id: AgreementID, code: String, reason: String) async {
        if let rental = rentalsByAgreement[id], let context = contexts[rental] {
            context.session.value?.lost.set(
                GolemError(.closed, "the machine was closed: \(reason)", place: context.label))
            context.mailbox.yield(.close(code: code, reason: reason, blame: true))
        } else {
            try? await client.market.terminate(id, code: code, message: reason)
        }
    }

    func stop(_ code: GolemError.Code, _ reason: String, closeCode: String) {
        perform(pool.stop(code, reason, closeCode: closeCode))
    }

    /// Ends all rentals and waits until they are over, at most `limit`.
    func shutDown(within limit: Duration) async {
        stop(.stopped, "the requestor is shutting down", closeCode: "Success")
        let start = ContinuousClock.now
        var isTold = false
        let before = client.watch.timeNotTheirs()
        while pool.hasOpenRentals, ContinuousClock.now - start - (client.watch.timeNotTheirs() - before) < limit,
            client.watch.awayFor() ?? .zero < endPatience
        {
            if !isTold, ContinuousClock.now - start > .seconds(2) {
                isTold = true
                let names = Set(contexts.values.map(\.proposal.offer.nodeName)).sorted().joined(separator: ", ")
                emit(RentalEvent(.waiting, "waiting until \(names) is given back, at most \(limit.text)"))
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}
