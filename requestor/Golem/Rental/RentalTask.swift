import Tracing
import Waiting

/// What one rental needs to know besides its state.
final class RentalContext: Sendable {
    let id: RentalID
    let proposal: Proposal
    let demand: DemandID
    let expiration: Timestamp
    let events: AsyncStream<RentalStateMachine.Event>
    let mailbox: AsyncStream<RentalStateMachine.Event>.Continuation
    /// The offer as the provider's answer holds it.
    let draftOffer = OneShot<Offer>()
    /// Our own proposal.
    let counter = OneShot<ProposalID>()
    let agreement = OneShot<AgreementID>()
    let session = OneShot<ActivitySession>()
    let machine = OneShot<Machine>()

    init(id: RentalID, proposal: Proposal, demand: DemandID, expiration: Timestamp) {
        self.id = id
        self.proposal = proposal
        self.demand = demand
        self.expiration = expiration
        (events, mailbox) = AsyncStream.makeStream()
    }

    var label: String { "\(proposal.offer.nodeName) (\(proposal.issuerID))" }

    func event(_ kind: RentalEvent.Kind, _ message: String, activity: ActivityID? = nil) -> RentalEvent {
        RentalEvent(
            kind, message, providerID: proposal.issuerID, providerName: proposal.offer.nodeName,
            agreementID: agreement.value, activityID: activity)
    }
}

extension Engine {
    /// The whole life of one rental.
    func live(_ context: RentalContext) async {
        await withSpan("golem.rental") { span in
            span.attributes["golem.provider.id"] = context.proposal.issuerID.rawValue
            span.attributes["golem.provider.name"] = context.proposal.offer.nodeName
            await live(context, span)
        }
    }

    private func live(_ context: RentalContext, _ span: any Span) async {
        var spans = RentalSpans()
        let outcome = await withTaskGroup(of: Void.self) { group in
            var machine = RentalStateMachine()
            var actions = machine.handle(.begin)
            var events = context.events.makeAsyncIterator()
            while true {
                for action in actions {
                    spans.follow(action)
                    if case .finish(let outcome) = action {
                        group.cancelAll()
                        return outcome
                    }
                    // What is announced comes before what is done: of an activity that is being destroyed it would be said
                    // that it was closed from here, whatever the reason.
                    if announce(action, context) { continue }
                    group.addTask { await self.perform(action, context) }
                }
                // The stream never ends by itself. It does when this task is cancelled, which happens only after the
                // time allowed for giving everything back.
                guard let event = await events.next() else {
                    group.cancelAll()
                    return RentalStateMachine.Outcome(
                        reason: "there was no time to end it", blame: false, wasTurnedDown: false, wasReady: false,
                        agreementLeft: context.agreement.value)
                }
                actions = machine.handle(event)
            }
        }
        spans.finish(outcome, span)
        if outcome.wasTurnedDown, let id = context.agreement.value { await treasurer.agreementRefused(id) }
        if let id = outcome.agreementLeft {
            let who = client.watch.awayFor() == nil ? "its provider" : "our own daemon"
            emit(context.event(.warning, "agreement \(id) could not be ended, \(who) does not answer"))
        }
        if context.session.value != nil { try? await plan.virtualNetwork?.remove(context.proposal.issuerID) }
        let wasRented = context.agreement.value != nil
        emit(context.event(wasRented ? .machineClosed : .negotiation, outcome.reason))
        closed(context, outcome)
    }

    /// Tells whoever uses the machine what has become of it, if that is what the action is.
    private func announce(_ action: RentalStateMachine.Action, _ context: RentalContext) -> Bool {
        switch action {
        case .announceReady(let agreement, let activity): announceReady(agreement, activity, context)
        case .announceLost(let reason):
            context.session.value?.lost.set(
                GolemError(
                    .machineLost, "the machine is lost: \(reason)", place: context.label,
                    hint: "another machine takes its place"))
            emit(context.event(.machineLost, reason, activity: context.session.value?.activityID))
            lost(context)
        case .announceClosing(let reason):
            context.session.value?.lost.set(
                GolemError(.closed, "the machine was closed: \(reason)", place: context.label))
            lost(context)
        default: return false
        }
        return true
    }

    private func perform(_ action: RentalStateMachine.Action, _ context: RentalContext) async {
        let mailbox = context.mailbox
        switch action {
        case .counter: await counter(context)
        case .createAgreement(let draft): await createAgreement(draft, context)
        case .confirmAgreement(let id): await confirm(id, context)
        case .wait(let id): mailbox.yield(await wait(id))
        case .createActivity(let agreement): await createActivity(agreement, context)
        case .prepare(let activity): await prepare(activity, context)
        case .startTimer(let step):
            if step == .lastCall {
                try? await Task.sleep(for: .seconds(5))
            } else {
                try? await client.waitWhileDaemonAnswers(step == .draft ? plan.proposalLimit : plan.answerLimit)
            }
            if !Task.isCancelled { mailbox.yield(.stepExpired(step)) }
        case .destroyActivity(let id): await destroy(id, context)
        case .cancelAgreement(let id):
            do {
                try await client.waitingForDaemon(patience: plan.daemonPatience) {
                    try await client.market.cancel(id, reason: "not needed any more")
                }
                await treasurer.agreementRefused(id)
                mailbox.yield(.agreementTerminated)
            } catch {
                mailbox.yield(.agreementNotTerminated)
            }
        case .terminateAgreement(let id, let code, let reason): await terminate(id, code, reason, context)
        case .announceReady, .announceLost, .announceClosing, .finish: break
        }
    }

    private func counter(_ context: RentalContext) async {
        let offer = context.proposal.offer
        if let contract = contract(offer, context), await !treasurer.allows(contract, for: .seconds(60)) {
            if readyCount == 0 {
                stop(
                    .budget, "the budget of \(plan.budget) GLM does not allow a machine to be rented",
                    closeCode: "Cancelled")
            }
            context.mailbox.yield(.counterFailed("the budget does not allow it"))
            return
        }
        do {
            let body = try demandBody(for: offer, expiration: context.expiration)
            let ours = try await client.market.counter(context.proposal.id, of: context.demand, with: body)
            countered(context, ours: ours)
        } catch {
            context.mailbox.yield(.counterFailed(reason(error)))
        }
    }

    private func contract(_ offer: Offer, _ context: RentalContext) -> Contract? {
        offer.price.map {
            Contract(
                providerID: context.proposal.issuerID, providerName: offer.nodeName, price: $0,
                threads: max(1, offer.threads ?? 1))
        }
    }

    private func createAgreement(_ draft: ProposalID, _ context: RentalContext) async {
        do {
            // One whose answer is lost was not sent to its provider yet, and ends by itself at that time.
            let validTo = Timestamp.system() + plan.answerLimit + .seconds(30)
            let id = try await client.market.createAgreement(from: draft, validTo: validTo)
            context.agreement.set(id)
            agreementKnown(id, context)
            context.mailbox.yield(.agreementCreated(id))
        } catch {
            context.mailbox.yield(.agreementNotCreated(reason(error)))
        }
    }

    private func confirm(_ id: AgreementID, _ context: RentalContext) async {
        do {
            guard let contract = contract(context.draftOffer.value ?? context.proposal.offer, context) else {
                throw GolemError(.refused, "the price of the answer cannot be read")
            }
            try await treasurer.agreementMade(id, contract)
            try await client.market.confirm(id, session: session)
            context.mailbox.yield(.confirmed)
            context.mailbox.yield(await wait(id))
        } catch {
            context.mailbox.yield(.confirmFailed(reason(error)))
        }
    }

    private func wait(_ id: AgreementID) async -> RentalStateMachine.Event {
        do {
            return .answered(try await client.market.wait(for: id, timeout: .seconds(10)))
        } catch let error as GolemError where !error.mayPass {
            return .confirmFailed(reason(error))
        } catch {
            try? await Task.sleep(for: .milliseconds(300))
            return .answered(.pending)
        }
    }

    private func createActivity(_ agreement: AgreementID, _ context: RentalContext) async {
        approved(context)
        emit(context.event(.agreement, "agreement approved"))
        let asked = Timestamp.now()
        do {
            try await treasurer.activityAsked(under: agreement, at: asked)
            let id = try await create(under: agreement)
            await treasurer.activityStarted(id, under: agreement, at: asked)
            emit(context.event(.activity, "activity started", activity: id))
            context.mailbox.yield(.activityCreated(id))
        } catch let error as GolemError where error.isOurDaemons {
            context.mailbox.yield(.activityUnknown(error.message))
        } catch {
            await treasurer.activityNotStarted(under: agreement, askedAt: asked)
            context.mailbox.yield(.activityNotCreated(reason(error)))
        }
    }

    /// Asks for an activity. Where the answer is lost, our daemon is asked for what it knows, as soon as it answers.
    private func create(under agreement: AgreementID) async throws -> ActivityID {
        do {
            return try await client.activity.create(agreement: agreement, timeout: plan.activityLimit)
        } catch let error as GolemError where error.isOurDaemons {
            let known = try await client.waitingForDaemon(patience: plan.daemonPatience) {
                try await client.activity.list(agreement: agreement)
            }
            // Not asked for again: the provider may have started the first one, and would be paid for two.
            guard let id = known.first else { throw error }
            return id
        }
    }

    private func prepare(_ activity: ActivityID, _ context: RentalContext) async {
        let session = ActivitySession(
            client: client, activityID: activity, label: context.label, daemonPatience: plan.daemonPatience,
            expiration: context.expiration)
        context.session.set(session)
        do {
            let preparation = try await plan.preparation(for: context.proposal.issuerID)
            let result = try await session.run(preparation, limit: plan.preparationLimit)
            if let failed = result.failure {
                let command =
                    preparation.indices.contains(failed.index) ? preparation[failed.index].summary : ""
                context.mailbox.yield(.notPrepared("\(command): \(failed.message ?? "no reason given")"))
            } else {
                context.mailbox.yield(.prepared)
            }
        } catch let error as GolemError where !error.isProvidersFault {
            context.mailbox.yield(.lost(error.message, blame: false))
        } catch {
            context.mailbox.yield(.notPrepared(reason(error)))
        }
        // From here on the session says when the machine is lost.
        if let error = try? await session.lost.wait() {
            context.mailbox.yield(.lost(error.message, blame: error.isProvidersFault))
        }
    }

    private func announceReady(_ agreement: AgreementID, _ activity: ActivityID, _ context: RentalContext) {
        guard let session = context.session.value else { return }
        context.machine.set(
            Machine(
                id: activity, providerID: context.proposal.issuerID, providerName: context.proposal.offer.nodeName,
                agreementID: agreement, offer: context.draftOffer.value ?? context.proposal.offer,
                expiration: context.expiration, rental: context.id, session: session))
        emit(context.event(.machineReady, "machine ready", activity: activity))
        ready(context)
    }

    private func destroy(_ id: ActivityID, _ context: RentalContext) async {
        context.session.value?.lost.set(GolemError(.closed, "the machine was closed", place: context.label))
        // An activity is never created without one.
        guard let agreement = context.agreement.value else { return }
        // What the provider says was used bounds its bill for processor time.
        if let usage = try? await withDeadline(.seconds(3), { [client] in try await client.activity.usage(id) }) {
            await treasurer.usageReported(usage, by: id, under: agreement)
        }
        do {
            try await client.activity.destroy(id, timeout: .seconds(5))
            await treasurer.activityEnded(id, under: agreement)
            context.mailbox.yield(.activityDestroyed)
        } catch {
            context.mailbox.yield(.activityNotDestroyed)
        }
    }

    private func terminate(_ id: AgreementID, _ code: String, _ reason: String, _ context: RentalContext) async {
        while true {
            do {
                try await client.waitingForDaemon(patience: plan.daemonPatience) {
                    try await client.market.terminate(id, code: code, message: reason)
                }
                await treasurer.agreementEnded(id, providerAnswers: true)
                context.mailbox.yield(.agreementTerminated)
                return
            } catch let error as GolemError where !error.isOurDaemons {
                // The way to the provider takes a while to come back after our own daemon has.
                if error.mayPass, client.watch.wasAway(within: GolemClient.recovery), !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(1))
                    continue
                }
                await treasurer.agreementEnded(id, providerAnswers: false)
                context.mailbox.yield(.agreementNotTerminated)
                return
            } catch {
                // Nobody was told: in the ledger it stays open, and the next run ends it.
                context.mailbox.yield(.agreementNotTerminated)
                return
            }
        }
    }

    private func reason(_ error: any Error) -> String {
        (error as? GolemError)?.message ?? "\(error)"
    }
}
