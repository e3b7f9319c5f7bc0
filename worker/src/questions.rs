//! Questions of a dispute: taken from the coordinator, answered, inner values uploaded.

use std::sync::Arc;

use alloy_primitives::B256;
use tokio::sync::Semaphore;
use touchstone_protocol::descriptor::Place;
use touchstone_wire::worker::{Answer, Ask, FromWorker, Question, Reply};

use crate::{
    answer::{AnswerError, Case, is_alarming, question_key},
    app::{App, lock, places},
    upload,
};

/// Questions in work or waiting; a coordinator has no reason to have more open.
const MAX_QUESTIONS: usize = 256;
impl App {
    /// The worker's turn in a dispute, says the coordinator.
    pub(crate) fn question(self: &Arc<Self>, question: Question) {
        let key = question_key(question.dispute, question.state);
        {
            let mut asked = lock(&self.asked);
            if asked.len() >= MAX_QUESTIONS || !asked.insert(key) {
                tracing::warn!(dispute = %question.dispute, "question dropped: it is in work, or there are too many");
                return;
            }
        }
        let app = self.clone();
        self.tasks.spawn(async move {
            app.reply(question, key).await;
        });
    }

    async fn reply(self: &Arc<Self>, question: Question, key: B256) {
        let Question {
            claim,
            dispute,
            state,
            deadline: _,
            ask,
        } = question;
        tracing::info!(claim_id = %claim, %dispute, ?ask, "question");
        let reply = match self.answer(claim, ask, &self.answers).await {
            Ok(reply) => reply,
            Err(error) => Reply::Unable(error.to_string()),
        };
        let layer = match (&reply, ask) {
            (Reply::Layer { commitments, .. }, Ask::Layer(layer)) => Some((layer, places(Place::Inner, commitments))),
            _ => None,
        };
        // Before it is sent: should the answer be lost with the session, the question comes again and is answered again.
        lock(&self.asked).remove(&key);
        self.link
            .send(FromWorker::Answer(Answer {
                claim,
                dispute,
                state,
                reply,
            }))
            .await;
        if let (Some((layer, values)), Some(welcome)) = (layer, self.link.welcome()) {
            let job = match self.store.select_claim(claim) {
                Ok(Some(record)) => record.terms.job(),
                Ok(None) | Err(_) => return,
            };
            if let Err(error) = upload::upload(&self.channel, &self.store, &welcome, (job, claim), layer, &values).await
            {
                tracing::warn!(claim_id = %claim, layer, %error, "inner values not uploaded");
            }
        }
    }

    /// The answer to a question about one of our claims, whoever asks; it waits for its turn among those of `turns`.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        claim: B256,
        ask: Ask,
        turns: &Semaphore,
    ) -> Result<Reply, AnswerError> {
        let outcome = self.try_answer(claim, ask, turns).await;
        if let Err(error) = &outcome {
            tracing::warn!(claim_id = %claim, ?ask, %error, "no answer");
            if is_alarming(error) {
                self.trip(format!("claim {claim}: {error}"));
            }
        }
        outcome
    }

    async fn try_answer(self: &Arc<Self>, claim: B256, ask: Ask, turns: &Semaphore) -> Result<Reply, AnswerError> {
        let unable = |error: &dyn std::fmt::Display| AnswerError::Unable(error.to_string());
        let _turn = turns.acquire().await.map_err(|error| unable(&error))?;
        let record = self
            .store
            .select_claim(claim)?
            .ok_or_else(|| AnswerError::Invalid("it is not one of ours".into()))?;
        let model = self.library.get(&record.terms.model_ref(), &self.model_service()).await;
        let model = model.map_err(|error| unable(&error))?;
        let app = self.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let signed = record
                .signed()
                .ok_or_else(|| AnswerError::Invalid("nothing is signed".into()))?;
            let case = Case {
                model: &model,
                terms: &record.terms,
                signed,
                runner: app.runner.as_ref(),
                store: &app.store,
                key: &app.signer.key,
                domain: app.signer.domain,
            };
            app.responder.respond(&case, &ask)
        });
        answered.await.map_err(|error| unable(&error))?
    }
}
