/// A number for one attempt to rent one machine, within one run.
public typealias RentalID = Int

/// One rental: from a provider's first proposal to the end of the agreement. Pure: events in, actions out.
///
/// ```
/// countering → awaitingDraft → creatingAgreement → awaitingApproval → creatingActivity → preparing → ready
///      └────────────┴────────────────┴───── any of them ────┴────────────────┴──────────────┴─────────┴→ closing → closed
/// ```
/// Whatever was taken is given back on every way out: a pending agreement is cancelled, an approved one terminated, an
/// activity destroyed first. A step that cannot be done (the provider is gone) is tried once and noted.
///
/// What was asked for counts as taken: while a call is under way that makes something, its answer is awaited, at most for
/// the time of ``Step/lastCall``, because the provider may have done what it asks, and bills it.
public struct RentalStateMachine: Sendable, Equatable {
    public enum State: Sendable, Equatable {
        case countering
        case awaitingDraft(ProposalID)
        case creatingAgreement
        case awaitingApproval(AgreementID)
        case creatingActivity(AgreementID)
        case preparing(AgreementID, ActivityID)
        case ready(AgreementID, ActivityID)
        case closing
        case closed
    }

    public enum Event: Sendable, Equatable {
        case begin
        case countered(ProposalID)
        case counterFailed(String)
        case draft(ProposalID)
        case proposalRejected(String, isFinal: Bool)
        case agreementCreated(AgreementID)
        case agreementNotCreated(String)
        /// The agreement is at the provider.
        case confirmed
        /// What waiting for approval, or a look at the agreement, came to.
        case answered(AgreementAnswer)
        case confirmFailed(String)
        case activityCreated(ActivityID)
        case activityNotCreated(String)
        /// Our own daemon lost the answer, and knows of no activity: whether it runs, only the provider knows.
        case activityUnknown(String)
        case prepared
        case notPrepared(String)
        /// The time for the present step is over.
        case stepExpired(Step)
        /// The machine does not answer any more.
        case lost(String, blame: Bool)
        /// The provider ended the agreement; blamed unless its time was over.
        case agreementEnded(String, blame: Bool)
        /// We end it.
        case close(code: String, reason: String, blame: Bool)
        case activityDestroyed
        case activityNotDestroyed
        case agreementTerminated
        case agreementNotTerminated
    }

    /// Steps with a limit of their own.
    public enum Step: Sendable, Hashable {
        case draft, approval
        /// The call that is under way when the rental is ended.
        case lastCall
    }

    public enum Action: Sendable, Equatable {
        case counter
        case createAgreement(ProposalID)
        /// Write it down, then confirm it and wait for the answer.
        case confirmAgreement(AgreementID)
        case wait(AgreementID)
        case createActivity(AgreementID)
        case prepare(ActivityID)
        case startTimer(Step)
        case announceReady(AgreementID, ActivityID)
        /// The machine may not be used any more; nothing is given back yet.
        case announceLost(String)
        /// The machine may not be used any more, because we end it.
        case announceClosing(String)
        case destroyActivity(ActivityID)
        case cancelAgreement(AgreementID)
        case terminateAgreement(AgreementID, code: String, reason: String)
        case finish(Outcome)
    }

    /// How a rental ended.
    public struct Outcome: Sendable, Equatable {
        public var reason: String
        /// Counts as a failure of the provider.
        public var blame: Bool
        /// The provider turned us down before there was an agreement; it may be asked again later.
        public var wasTurnedDown: Bool
        /// Nobody answered for the offer: it may be an old one, and another of the same provider may do at once.
        public var wasUnanswered: Bool
        /// There was a machine in working order at some time.
        public var wasReady: Bool
        /// An agreement that could not be ended, because the provider does not answer.
        public var agreementLeft: AgreementID?

        public init(
            reason: String, blame: Bool, wasTurnedDown: Bool, wasReady: Bool, agreementLeft: AgreementID? = nil,
            wasUnanswered: Bool = false
        ) {
            self.reason = reason
            self.blame = blame
            self.wasTurnedDown = wasTurnedDown
            self.wasUnanswered = wasUnanswered
            self.wasReady = wasReady
            self.agreementLeft = agreementLeft
        }
    }

    public private(set) var state = State.countering
    /// What is to be given back.
    private var agreement: AgreementID?
    /// A call that makes something, whose answer is not here yet.
    private var callUnderWay: Call?
    private var isApproved = false
    private var agreementIsOver = false
    private var activity: ActivityID?
    private var ending: (code: String, reason: String, blame: Bool)?
    private var wasReady = false
    private var wasTurnedDown = false
    private var wasUnanswered = false
    private var agreementLeft: AgreementID?
    private var step = ClosingStep.none

    private enum ClosingStep: Sendable, Equatable { case none, awaitingCall, activity, agreement, termination }
    private enum Call: Sendable, Equatable { case agreement, confirmation, activity }

    public init() {}

    public static func == (left: RentalStateMachine, right: RentalStateMachine) -> Bool {
        left.state == right.state && left.agreement == right.agreement && left.activity == right.activity
    }

    public mutating func handle(_ event: Event) -> [Action] {
        switch (state, event) {
        case (.closed, _):
            return []

        case (.closing, _):
            return handleClosing(event)

        case (.countering, .begin):
            return [.startTimer(.draft), .counter]

        case (.countering, .countered(let ours)):
            state = .awaitingDraft(ours)
            return []

        case (.countering, .counterFailed(let reason)):
            wasTurnedDown = true
            return close("Cancelled", "the proposal could not be answered: \(reason)", blame: false)

        // The draft may overtake the answer to our own call.
        case (.countering, .draft(let draft)), (.awaitingDraft, .draft(let draft)):
            state = .creatingAgreement
            callUnderWay = .agreement
            return [.createAgreement(draft)]

        case (.countering, .proposalRejected(let reason, _)), (.awaitingDraft, .proposalRejected(let reason, _)):
            wasTurnedDown = true
            return close("Cancelled", "the provider declined: \(reason)", blame: false)

        case (.countering, .stepExpired(.draft)), (.awaitingDraft, .stepExpired(.draft)):
            wasTurnedDown = true
            wasUnanswered = true
            return close("Cancelled", "the provider did not answer the proposal", blame: false)

        case (.creatingAgreement, .agreementCreated(let id)):
            agreement = id
            callUnderWay = .confirmation
            state = .awaitingApproval(id)
            return [.startTimer(.approval), .confirmAgreement(id)]

        case (.creatingAgreement, .agreementNotCreated(let reason)):
            callUnderWay = nil
            return close("Cancelled", "no agreement could be made: \(reason)", blame: false)

        case (.awaitingApproval, .confirmed):
            callUnderWay = nil
            return []

        case (.awaitingApproval(let id), .answered(.approved)):
            isApproved = true
            callUnderWay = .activity
            state = .creatingActivity(id)
            return [.createActivity(id)]

        case (.awaitingApproval(let id), .answered(.pending)):
            callUnderWay = nil
            return [.wait(id)]

        case (.awaitingApproval, .answered(.refused(let reason))):
            callUnderWay = nil
            agreementIsOver = true
            wasTurnedDown = true
            return close("Cancelled", "the provider did not approve the agreement: \(reason)", blame: true)

        case (.awaitingApproval, .confirmFailed(let reason)):
            callUnderWay = nil
            return close("Cancelled", "the agreement could not be sent: \(reason)", blame: false)

        case (.awaitingApproval, .stepExpired(.approval)):
            return close("Cancelled", "the provider did not answer the agreement", blame: true)

        case (.creatingActivity(let id), .activityCreated(let new)):
            callUnderWay = nil
            activity = new
            state = .preparing(id, new)
            return [.prepare(new)]

        case (.creatingActivity, .activityNotCreated(let reason)):
            callUnderWay = nil
            return close("Cancelled", "the activity did not start: \(reason)", blame: true)

        case (.creatingActivity, .activityUnknown(let reason)):
            callUnderWay = nil
            return close("Cancelled", "it is not known whether the activity started: \(reason)", blame: false)

        case (.preparing(let agreement, let activity), .prepared):
            state = .ready(agreement, activity)
            wasReady = true
            return [.announceReady(agreement, activity)]

        case (.preparing, .notPrepared(let reason)):
            return close("Cancelled", "the image could not be deployed and started: \(reason)", blame: true)

        case (.ready, .lost(let reason, let blame)):
            return [.announceLost(reason)] + close("Cancelled", reason, blame: blame)

        case (_, .lost(let reason, let blame)):
            return close("Cancelled", reason, blame: blame)

        case (_, .agreementEnded(let reason, let blame)):
            guard agreement != nil else { return [] }
            agreementIsOver = true
            let announce: [Action] = isReady ? [.announceLost("the provider ended the agreement: \(reason)")] : []
            return announce + close("Cancelled", "the provider ended the agreement: \(reason)", blame: blame)

        case (_, .close(let code, let reason, let blame)):
            let announce: [Action] = isReady ? [.announceClosing(reason)] : []
            return announce + close(code, reason, blame: blame)

        default:
            // Something that came late, or twice.
            return []
        }
    }

    private var isReady: Bool {
        if case .ready = state { return true }
        return false
    }

    private mutating func close(_ code: String, _ reason: String, blame: Bool) -> [Action] {
        ending = (code, reason, blame)
        state = .closing
        if callUnderWay != nil, !agreementIsOver {
            step = .awaitingCall
            return [.startTimer(.lastCall)]
        }
        if let activity {
            step = .activity
            return [.destroyActivity(activity)]
        }
        return endAgreement()
    }

    private mutating func endAgreement() -> [Action] {
        guard let agreement, !agreementIsOver, let ending else { return finish() }
        if isApproved {
            step = .termination
            return [.terminateAgreement(agreement, code: ending.code, reason: ending.reason)]
        }
        step = .agreement
        return [.cancelAgreement(agreement)]
    }

    private mutating func finish() -> [Action] {
        state = .closed
        let ending = ending ?? ("Cancelled", "closed", false)
        return [
            .finish(
                Outcome(
                    reason: ending.reason, blame: ending.blame, wasTurnedDown: wasTurnedDown, wasReady: wasReady,
                    agreementLeft: agreementLeft, wasUnanswered: wasUnanswered))
        ]
    }

    private mutating func handleClosing(_ event: Event) -> [Action] {
        switch (step, event) {
        case (.awaitingCall, .agreementCreated(let id)):
            // Never confirmed: the provider does not know of it.
            agreement = id
            return endAgreement()
        case (.awaitingCall, .agreementNotCreated):
            return finish()
        case (.awaitingCall, .answered(let answer)):
            isApproved = answer == .approved
            if case .refused = answer { agreementIsOver = true }
            return endAgreement()
        case (.awaitingCall, .activityCreated(let id)):
            activity = id
            step = .activity
            return [.destroyActivity(id)]
        case (.awaitingCall, .confirmed), (.awaitingCall, .confirmFailed), (.awaitingCall, .activityNotCreated),
            (.awaitingCall, .activityUnknown), (.awaitingCall, .stepExpired(.lastCall)):
            return endAgreement()
        case (.awaitingCall, .agreementEnded):
            agreementIsOver = true
            return finish()
        case (_, .agreementEnded):
            agreementIsOver = true
            return []
        case (.termination, .activityCreated(let id)), (.agreement, .activityCreated(let id)):
            // It came up while its agreement was being ended, which ends it too; destroying it is for good measure.
            return [.destroyActivity(id)]
        case (.activity, .activityDestroyed), (.activity, .activityNotDestroyed):
            activity = nil
            return endAgreement()
        case (.agreement, .agreementTerminated), (.termination, .agreementTerminated):
            return finish()
        case (.agreement, .agreementNotTerminated):
            // It cannot be cancelled: perhaps it was approved at the last moment.
            guard let agreement, let ending, !agreementIsOver else { return finish() }
            isApproved = true
            step = .termination
            return [.terminateAgreement(agreement, code: ending.code, reason: ending.reason)]
        case (.termination, .agreementNotTerminated):
            agreementLeft = agreementIsOver ? nil : agreement
            return finish()
        default:
            return []
        }
    }
}
